// SPDX-License-Identifier: Apache-2.0
#pragma once

// Time as the cores see it. A core never reads a clock: the driver reads one per
// callback and passes it down, so an hour of protocol time is tested in
// milliseconds. `Instant` (monotonic) and `WallTime` (unix, for SPA timestamps and
// certificates) are different types; mixing them does not compile.

#include <chrono>
#include <cstdint>
#include <optional>

namespace natt {

using Duration = std::chrono::nanoseconds;

// Monotonic time since an arbitrary start. Has no `now()` on purpose.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};
using Instant = MonotonicClock::time_point;

// Milliseconds since 1970-01-01T00:00:00Z. Has no `now()` on purpose.
struct UnixClock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<UnixClock>;
  static constexpr bool is_steady = false;
};
using WallTime = UnixClock::time_point;

// The earlier of two deadlines, where an absent one never comes.
[[nodiscard]] constexpr std::optional<Instant> earlier(std::optional<Instant> a, std::optional<Instant> b) {
  if (!a) return b;
  if (!b) return a;
  return *a < *b ? a : b;
}

}  // namespace natt
