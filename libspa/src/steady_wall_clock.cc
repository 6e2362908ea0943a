// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/steady_wall_clock.h>

#include <algorithm>

namespace natt::spa {
namespace {

// While a small step back is run down: 1 % slow, so a leap second takes 100 s.
constexpr int kSlowdown = 100;
// Reading two clocks one after the other, and milliseconds: what may differ without a step.
constexpr Duration kNoise = std::chrono::milliseconds(5);

}  // namespace

SteadyWallClock::SteadyWallClock(const HostClock& host) : host_(&host) {
  const HostTime time = host_->read();
  offset_ = time.wall.time_since_epoch() - time.boot;
  last_boot_ = time.boot;
}

WallTime SteadyWallClock::now() {
  const HostTime time = host_->read();
  follow(time.wall.time_since_epoch() - time.boot, time.boot);
  last_boot_ = std::max(last_boot_, time.boot);
  return WallTime(std::chrono::floor<std::chrono::milliseconds>(offset_ + last_boot_));
}

void SteadyWallClock::follow(Duration wanted, Duration boot) {
  const Duration step = wanted - offset_;
  if (step > kNoise) {
    if (step > kAbsorbed) count_step(step);
    offset_ = wanted;
    behind_ = false;
  } else if (step < -kAbsorbed) {
    count_step(step);
    offset_ = wanted;
    behind_ = false;
  } else if (behind_ || step < -kNoise) {
    run_down(wanted, boot);
  }
}

void SteadyWallClock::run_down(Duration wanted, Duration boot) {
  if (!behind_) ++stats_.absorbed;
  const Duration passed = std::max(Duration(0), boot - last_boot_);
  offset_ = std::max(wanted, offset_ - passed / kSlowdown);
  behind_ = offset_ > wanted;
}

void SteadyWallClock::count_step(Duration by) {
  ++(by > Duration(0) ? stats_.steps_forward : stats_.steps_back);
  stats_.last_step = std::chrono::duration_cast<std::chrono::milliseconds>(by);
}

}  // namespace natt::spa
