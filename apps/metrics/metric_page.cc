// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/metric_page.h"

#include <map>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace natt::metrics {

struct MetricPage::Families {
  std::vector<prometheus::MetricFamily> list;  // in the order in which they came
  std::map<const Metric*, std::size_t> places;
};

MetricPage::MetricPage() : families_(std::make_unique<Families>()) {}
MetricPage::~MetricPage() = default;
MetricPage::MetricPage(MetricPage&&) noexcept = default;
MetricPage& MetricPage::operator=(MetricPage&&) noexcept = default;

void MetricPage::add(const Metric& metric, std::initializer_list<std::string_view> label_values, double value) {
  const bool counts = metric.kind == Metric::Kind::kCounter;
  const auto [place, is_new] = families_->places.try_emplace(&metric, families_->list.size());
  if (is_new) {
    families_->list.push_back({std::string(metric.name),
                               std::string(metric.help),
                               counts ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
                               {}});
  }
  prometheus::ClientMetric& sample = families_->list[place->second].metric.emplace_back();
  const std::string_view* label = metric.labels.data();
  for (const std::string_view text : label_values) sample.label.push_back({std::string(*label++), std::string(text)});
  (counts ? sample.counter.value : sample.gauge.value) = value;
}

std::string MetricPage::text() const { return prometheus::TextSerializer().Serialize(families_->list); }

}  // namespace natt::metrics
