// SPDX-License-Identifier: Apache-2.0
#include "steady_wall_clock.h"

#include <algorithm>

namespace natt::spa {
namespace {

// While a small step back is run down: 1 % slow, so a leap second takes 100 s.
constexpr int kSlowdown = 100;
// Reading two clocks one after the other, and milliseconds: what may differ without a step.
constexpr Duration kNoise = std::chrono::milliseconds(5);

}  // namespace

WallTime SteadyWallClock::follow(Instant now, WallTime host) {
  const Instant at = std::max(now, last_);
  const Duration wanted = host.time_since_epoch() - at.time_since_epoch();
  const Duration step = offset_ ? wanted - *offset_ : Duration::max();
  if (step > kNoise || step < -kAbsorbed) {
    if (step < -kAbsorbed) ++steps_back_;
    offset_ = wanted;
    behind_ = false;
  } else if (behind_ || step < -kNoise) {
    run_down(wanted, at - last_);
  }
  last_ = at;
  return WallTime(std::chrono::floor<std::chrono::milliseconds>(*offset_ + at.time_since_epoch()));
}

void SteadyWallClock::run_down(Duration wanted, Duration passed) {
  offset_ = std::max(wanted, *offset_ - passed / kSlowdown);
  behind_ = *offset_ > wanted;
}

}  // namespace natt::spa
