// SPDX-License-Identifier: Apache-2.0
#pragma once

// Average throughput over the last minute, from a total that is sampled once a
// second: nothing is added to the cost of a packet. Value type.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include <natt/time.h>

namespace natt::relay {

class ThroughputWindow {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(1);
  static constexpr Duration kPause = std::chrono::seconds(10);

  // To be called about once per kInterval; more often does nothing.
  void sample(Instant now, std::uint64_t total_bytes) {
    if (count_ > 0 && now < newest().at + kInterval) return;
    // After a pause the old samples say nothing about the last minute.
    if (count_ > 0 && now > newest().at + kPause) count_ = 0;
    samples_[count_ % samples_.size()] = {now, total_bytes};
    ++count_;
  }

  [[nodiscard]] std::uint64_t bits_per_second() const {
    if (count_ < 2) return 0;
    const auto milliseconds = (newest().at - oldest().at) / std::chrono::milliseconds(1);
    const std::uint64_t bits = (newest().total_bytes - oldest().total_bytes) * 8;
    return milliseconds <= 0 ? 0 : bits * 1000 / static_cast<std::uint64_t>(milliseconds);
  }

  // Whether traffic is still in sight, so sampling has to go on.
  [[nodiscard]] bool moving() const { return count_ >= 2 && newest().total_bytes != oldest().total_bytes; }
  [[nodiscard]] std::optional<Instant> next_sample() const {
    return count_ == 0 ? std::nullopt : std::optional(newest().at + kInterval);
  }

 private:
  struct Sample {
    Instant at{};
    std::uint64_t total_bytes = 0;
  };
  [[nodiscard]] const Sample& newest() const { return samples_[(count_ - 1) % samples_.size()]; }
  [[nodiscard]] const Sample& oldest() const {
    return count_ <= samples_.size() ? samples_[0] : samples_[count_ % samples_.size()];
  }

  std::array<Sample, 61> samples_{};  // 60 intervals
  std::size_t count_ = 0;
};

}  // namespace natt::relay
