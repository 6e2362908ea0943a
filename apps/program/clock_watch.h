// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether somebody set the calendar of a host that is knocked at: devices that know the
// former time are refused in silence then, and only this program can say so. Value type,
// no I/O: it is asked whenever health is.

#include <chrono>
#include <optional>
#include <string>

#include <natt/spa/host_clock.h>

namespace natt::program {

class ClockWatch {
 public:
  // Half of what a knock may be off (spa::Verifier::kMaxSkew).
  static constexpr std::chrono::seconds kWorthSaying{30};
  // From when it was noticed. By then every device has heard the new time, or somebody has looked.
  static constexpr std::chrono::hours kSaidFor{1};

  explicit ClockWatch(const spa::HostTime& start) : usual_(calendar_of(start)) {}

  // One sentence for the operator, until the step is undone or an hour old.
  [[nodiscard]] std::optional<std::string> complaint(const spa::HostTime& now);

 private:
  // The calendar against the time since boot, which runs on while the host sleeps and which nobody can set.
  [[nodiscard]] static Duration calendar_of(const spa::HostTime& time) {
    return time.wall.time_since_epoch() - time.boot;
  }

  struct Step {
    Duration by{};
    Duration noticed{};  // since boot
  };
  Duration usual_;
  std::optional<Step> step_;
};

}  // namespace natt::program
