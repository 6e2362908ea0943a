// SPDX-License-Identifier: Apache-2.0
#include "knock_budget.h"

#include <bit>

namespace natt::spa {

KnockMeter::Charge KnockMeter::charge(Instant now, std::uint16_t id, const KnockBudget& budget) {
  const std::int64_t millis = std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
  forget_expired(millis);
  for (std::size_t i = 0; i < kKnownIds; ++i) {
    if (is_used(i) && known_[i].id == id) return Charge::kKnown;
  }
  if (!take_token(now, budget)) return Charge::kRefused;
  known_[next_] = {static_cast<std::uint16_t>(millis & 0xffff), id};
  used_ = static_cast<std::uint8_t>(used_ | 1u << next_);
  next_ = static_cast<std::uint8_t>((next_ + 1) % kKnownIds);
  return Charge::kFresh;
}

// 16 bits of milliseconds hold 65 s. What was alive at the last look was younger than 10 s then; if that look is
// further back than 10 s all of it has expired, and otherwise it is younger than 22 s now.
void KnockMeter::forget_expired(std::int64_t millis) {
  constexpr std::int64_t kLifetime = std::chrono::milliseconds(kIdLifetime).count();
  const auto second = static_cast<std::uint32_t>(millis / 1000 & 0xffff'ffff);
  if (second - last_look_ > kIdLifetime.count()) used_ = 0;
  last_look_ = second;
  for (unsigned left = used_; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const auto age = static_cast<std::uint16_t>((millis - known_[static_cast<std::size_t>(i)].since) & 0xffff);
    if (age >= kLifetime) used_ = static_cast<std::uint8_t>(used_ & ~(1u << i));
  }
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

std::uint32_t& NonceMeter::of(Slot first, Slot slot) {
  const auto wanted = static_cast<std::uint32_t>(first.number & 0xffff'ffff);
  if (wanted != first_) {
    // Modulo 2^32 in both directions: slots that are gone, or not yet covered, get numbers beyond the array.
    const std::uint32_t shift = wanted - first_;
    std::array<std::uint32_t, kSlots> shifted{};
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      if (i + shift < kSlots) shifted[i] = counts_[i + shift];
    }
    counts_ = shifted;
    first_ = wanted;
  }
  return counts_[(slot.number - first.number) % kSlots];
}

}  // namespace natt::spa
