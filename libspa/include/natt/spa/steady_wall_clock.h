// SPDX-License-Identifier: Apache-2.0
#pragma once

// The calendar as a verifier is told it (docs/ARCHITECTURE.md, "Replay, restart and
// clock"): wall clock at start plus time since boot. Slewing moves both of the host's
// clocks and needs nothing. When the calendar is set:
//   forward  followed at once;
//   back by up to kAbsorbed (a leap second, a small correction)  never goes back, runs
//            1 % slow until the host's calendar has caught up;
//   back by more  followed at once; the verifier then asks of each device a timestamp
//            later than the last it accepted, in slots that come again.
// Time that the host was suspended counts. Not thread-safe: one per loop.

#include <cstdint>

#include <natt/spa/host_clock.h>

namespace natt::spa {

class SteadyWallClock {
 public:
  // Leap second, or an NTP client stepping what it might have slewed (chrony's makestep default is 1 s).
  static constexpr std::chrono::seconds kAbsorbed{2};

  struct Stats {
    std::uint64_t steps_forward = 0;  // of more than kAbsorbed
    std::uint64_t steps_back = 0;     // of more than kAbsorbed
    std::uint64_t absorbed = 0;       // small steps back that were run down
    std::chrono::milliseconds last_step{};  // of those counted first; negative is back
  };

  // `host` outlives the clock.
  explicit SteadyWallClock(const HostClock& host);

  // Never earlier than what it returned before, unless the calendar was set back by more than kAbsorbed.
  [[nodiscard]] WallTime now();
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  void follow(Duration wanted, Duration boot);
  void run_down(Duration wanted, Duration boot);
  void count_step(Duration by);

  const HostClock* host_;
  Duration offset_;      // added to the time since boot
  Duration last_boot_;   // at the last call
  bool behind_ = false;  // running down a small step back
  Stats stats_;
};

}  // namespace natt::spa
