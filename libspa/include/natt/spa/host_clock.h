// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two clocks of the host that replay safety rests on: the calendar, which somebody
// may set, and the time since boot, which nobody can and which counts while the host
// sleeps. An argument of what needs them, so that tests set them as they like.

#include <natt/time.h>

namespace natt::spa {

struct HostTime {
  WallTime wall;   // CLOCK_REALTIME
  Duration boot{};  // CLOCK_BOOTTIME: since the host started, suspended time included
};

class HostClock {
 public:
  virtual ~HostClock() = default;
  [[nodiscard]] virtual HostTime read() const noexcept = 0;
  // The calendar alone, up to 10 ms late: for the packet path.
  [[nodiscard]] virtual WallTime coarse_wall() const noexcept = 0;
};

// The kernel's clocks by way of the vDSO: no system call. Value type without state; usable from any thread.
class SystemHostClock final : public HostClock {
 public:
  [[nodiscard]] HostTime read() const noexcept override;
  [[nodiscard]] WallTime coarse_wall() const noexcept override;
};

}  // namespace natt::spa
