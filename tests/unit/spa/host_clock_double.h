// SPDX-License-Identifier: Apache-2.0
#pragma once

// A host whose clocks a test moves.

#include <natt/spa/host_clock.h>

namespace natt::test {

class HostClockDouble final : public spa::HostClock {
 public:
  explicit HostClockDouble(WallTime wall, Duration boot = std::chrono::hours(1)) : time{wall, boot} {}

  [[nodiscard]] spa::HostTime read() const noexcept override { return time; }
  [[nodiscard]] WallTime coarse_wall() const noexcept override { return time.wall; }

  void pass(Duration by) {
    time.boot += by;
    time.wall += std::chrono::duration_cast<std::chrono::milliseconds>(by);
  }
  void set(WallTime wall) { time.wall = wall; }

  spa::HostTime time;
};

}  // namespace natt::test
