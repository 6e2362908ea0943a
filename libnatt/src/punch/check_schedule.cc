// SPDX-License-Identifier: Apache-2.0
#include "src/punch/check_schedule.h"

#include <algorithm>

namespace natt {

void CheckSchedule::start(Instant at) {
  interval_ = options_.first_interval;
  give_up_ = at + options_.try_for;
  next_ = at;
}

void CheckSchedule::trigger(Instant now) {
  const bool too_soon = last_sent_ && now - *last_sent_ < kMinTriggerGap;
  start(too_soon ? *last_sent_ + kMinTriggerGap : now);
}

void CheckSchedule::sent(Instant now) {
  last_sent_ = now;
  next_ = now + interval_;
  interval_ = std::chrono::duration_cast<Duration>(interval_ * options_.backoff);
  interval_ = std::min(interval_, options_.max_interval);
  if (*next_ >= give_up_) next_.reset();
}

void CheckSchedule::defer(Instant until) {
  next_ = until;
  if (until >= give_up_) next_.reset();
}

}  // namespace natt
