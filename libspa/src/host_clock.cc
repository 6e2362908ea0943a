// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/host_clock.h>

#include <cstdlib>
#include <ctime>

namespace natt::spa {
namespace {

// These clocks exist on every kernel that this library runs on; without them nothing here is safe.
Duration read_clock(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) std::abort();
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

WallTime wall_of(Duration since_1970) {
  return WallTime(std::chrono::floor<std::chrono::milliseconds>(since_1970));
}

}  // namespace

// Two clocks cannot be read at once. A process that is stopped in between would see the calendar step, so the
// pair counts only when both ends of it are close together; after some tries the closest.
HostTime SystemHostClock::read() const noexcept {
  constexpr Duration kClose = std::chrono::microseconds(100);
  constexpr int kTries = 10;
  HostTime best;
  Duration closest = Duration::max();
  for (int i = 0; i < kTries && closest > kClose; ++i) {
    const Duration before = read_clock(CLOCK_BOOTTIME);
    const WallTime wall = wall_of(read_clock(CLOCK_REALTIME));
    const Duration after = read_clock(CLOCK_BOOTTIME);
    if (after - before >= closest) continue;
    closest = after - before;
    best = {wall, after};
  }
  return best;
}

WallTime SystemHostClock::coarse_wall() const noexcept { return wall_of(read_clock(CLOCK_REALTIME_COARSE)); }

}  // namespace natt::spa
