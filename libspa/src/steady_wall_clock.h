// SPDX-License-Identifier: Apache-2.0
#pragma once

// The calendar as a verifier takes it: wall clock at start plus elapsed time
// (docs/ARCHITECTURE.md, "Replay, restart and clock"). Slewing moves both of the host's
// clocks and needs nothing. When the calendar is set:
//   forward (or the host was suspended)  followed at once;
//   back by up to kAbsorbed (a leap second, a small correction)  never goes back, runs 1 %
//            slow until the host's calendar has caught up;
//   back by more  followed at once; the verifier then asks of each device a timestamp
//            later than the last it accepted, in slots that come again.
// Value type.

#include <cstdint>
#include <optional>

#include <natt/time.h>

namespace natt::spa {

class SteadyWallClock {
 public:
  // Leap second, or an NTP client stepping what it might have slewed (chrony's makestep default is 1 s).
  static constexpr std::chrono::seconds kAbsorbed{2};

  // `host` is what the host's calendar says at `now`. Never earlier than what it returned before, unless the calendar
  // was set back by more than kAbsorbed.
  [[nodiscard]] WallTime follow(Instant now, WallTime host);
  // Of more than kAbsorbed.
  [[nodiscard]] std::uint64_t steps_back() const { return steps_back_; }

 private:
  void run_down(Duration wanted, Duration passed);

  std::optional<Duration> offset_;  // added to the monotonic time
  Instant last_{};
  bool behind_ = false;  // running down a small step back
  std::uint64_t steps_back_ = 0;
};

}  // namespace natt::spa
