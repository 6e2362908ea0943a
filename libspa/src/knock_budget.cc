// SPDX-License-Identifier: Apache-2.0
#include "knock_budget.h"

namespace natt::spa {

KnockMeter::Charge KnockMeter::charge(Instant now, std::uint16_t id, const KnockBudget& budget) {
  constexpr auto kLifetime = std::chrono::duration_cast<std::chrono::milliseconds>(kIdLifetime).count();
  const auto millis = static_cast<std::uint32_t>(
      std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count() & 0xffff'ffff);
  for (const Known& known : known_) {
    if (known.used && known.id == id && millis - known.since < kLifetime) return Charge::kKnown;
  }
  if (!take_token(now, budget)) return Charge::kRefused;
  known_[next_] = {millis, id, true};
  next_ = static_cast<std::uint8_t>((next_ + 1) % kKnownIds);
  return Charge::kFresh;
}

// The bucket as the time at which it will be full: one number instead of a level and its date. A knock moves it by
// one interval; it may lie at most `burst` intervals ahead.
bool KnockMeter::take_token(Instant now, const KnockBudget& budget) {
  if (budget.per_second == 0 || budget.burst == 0) return false;
  const Duration interval = Duration(std::chrono::seconds(1)) / budget.per_second;
  const Instant after = std::max(full_at_, now) + interval;
  if (after - now > interval * budget.burst) return false;
  full_at_ = after;
  return true;
}

void ForgeryMeter::charge(Instant now) {
  const std::uint32_t second = second_of(now);
  if (second != second_) {
    second_ = second;
    count_ = 0;
  }
  ++count_;
}

}  // namespace natt::spa
