// SPDX-License-Identifier: Apache-2.0
#pragma once

// One scrape: samples, and the text that Prometheus reads. Made for each scrape from what
// the program counts anyway, and thrown away: no registry, no second count of anything.
// Value type that can only be moved.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace natt::metrics {

// What is known of a metric before it has a value. Constants of metric_catalogue.h.
struct Metric {
  enum class Kind : std::uint8_t { kCounter, kGauge };
  std::string_view name;
  Kind kind = Kind::kGauge;
  std::string_view help;
  std::array<std::string_view, 2> labels{};  // empty behind the last
};

class MetricPage {
 public:
  MetricPage();
  ~MetricPage();
  MetricPage(MetricPage&&) noexcept;
  MetricPage& operator=(MetricPage&&) noexcept;

  // One value for each label of the metric, in its order. `metric` outlives the page.
  void add(const Metric& metric, std::initializer_list<std::string_view> label_values, double value);
  void add(const Metric& metric, std::initializer_list<std::string_view> label_values, std::uint64_t value) {
    add(metric, label_values, static_cast<double>(value));
  }
  void add(const Metric& metric, std::initializer_list<std::string_view> label_values, bool value) {
    add(metric, label_values, value ? 1.0 : 0.0);
  }

  // Text format 0.0.4.
  [[nodiscard]] std::string text() const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace natt::metrics
