// SPDX-License-Identifier: Apache-2.0
#pragma once

// Notices that a broker's clock was set while its channel was open. Only a broker's own
// step counts: two brokers that disagree do not take turns in being believed. Value type.

#include <chrono>
#include <optional>

#include <natt/spa/host_clock.h>
#include <natt/time.h>

namespace natt {

class BrokerClock {
 public:
  // Half of what a knock may be off (spa::Verifier::kMaxSkew).
  static constexpr std::chrono::seconds kWorthFollowing{30};

  // The broker's clock shows `theirs`. How far it was set since it was last heard, when that matters.
  [[nodiscard]] std::optional<std::chrono::seconds> hear(WallTime theirs, const spa::HostTime& now) {
    // Against the time since boot, which nobody can set.
    const Duration offset = theirs.time_since_epoch() - now.boot;
    if (!offset_) offset_ = offset;
    const auto step = std::chrono::duration_cast<std::chrono::seconds>(offset - *offset_);
    if (std::chrono::abs(step) < kWorthFollowing) return std::nullopt;
    offset_ = offset;
    return step;
  }
  // A new channel: what it shows now is what it shows.
  void forget() { offset_.reset(); }

 private:
  std::optional<Duration> offset_;
};

}  // namespace natt
