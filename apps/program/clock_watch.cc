// SPDX-License-Identifier: Apache-2.0
#include "apps/program/clock_watch.h"

namespace natt::program {

std::optional<std::string> ClockWatch::complaint(const spa::HostTime& now) {
  const Duration by = calendar_of(now) - usual_;
  if (std::chrono::abs(by) < kWorthSaying) {
    step_.reset();
    return std::nullopt;
  }
  if (!step_ || std::chrono::abs(by - step_->by) >= kWorthSaying) step_ = Step{by, now.boot};
  if (now.boot - step_->noticed > kSaidFor) {
    usual_ = calendar_of(now);
    step_.reset();
    return std::nullopt;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::abs(by)).count();
  return "this host's clock was set " + std::to_string(seconds) + " s " + (by > Duration::zero() ? "ahead" : "back") +
         " while this program ran: knocks of devices that go by the former time are refused; when the clock is wrong "
         "now, set it";
}

}  // namespace natt::program
