// SPDX-License-Identifier: Apache-2.0
#pragma once

// A token bucket on a passed-in clock. Value type.

#include <algorithm>
#include <cstdint>

#include <natt/time.h>

namespace natt {

class TokenBucket {
 public:
  // Refused nothing, ever.
  constexpr TokenBucket() = default;
  // `rate` tokens a second, at most `burst` saved up; starts full. A rate of 0 is unlimited.
  constexpr TokenBucket(std::uint64_t rate, std::uint64_t burst) : rate_(rate), burst_(burst), tokens_(burst) {}

  [[nodiscard]] constexpr bool unlimited() const { return rate_ == 0; }

  // Takes `amount`, or nothing. An amount above the burst is never granted.
  // `now` never goes back; if it does, nothing is refilled.
  [[nodiscard]] constexpr bool take(Instant now, std::uint64_t amount) {
    if (rate_ == 0) return true;
    refill(now);
    if (tokens_ < amount) return false;
    tokens_ -= amount;
    return true;
  }

  // Gives back what a later check of the same packet made unnecessary.
  constexpr void give_back(std::uint64_t amount) { tokens_ = std::min(burst_, tokens_ + amount); }

 private:
  constexpr void refill(Instant now) {
    if (!started_) {
      started_ = true;
      last_ = now;
      return;
    }
    if (now <= last_) return;
    const auto elapsed = static_cast<std::uint64_t>((now - last_).count());
    last_ = now;
    // Longer than it takes to fill: also keeps seconds * rate below 2^64.
    if (elapsed / kNanosecondsPerSecond >= burst_ / rate_ + 1) {
      tokens_ = burst_;
      carry_ = 0;
      return;
    }
    const std::uint64_t seconds = elapsed / kNanosecondsPerSecond;
    const std::uint64_t rest = elapsed % kNanosecondsPerSecond;
    const Wide part = static_cast<Wide>(rest) * rate_ + carry_;
    carry_ = static_cast<std::uint64_t>(part % kNanosecondsPerSecond);
    const std::uint64_t earned = seconds * rate_ + static_cast<std::uint64_t>(part / kNanosecondsPerSecond);
    tokens_ = std::min(burst_, tokens_ + earned);
  }

  __extension__ using Wide = unsigned __int128;
  static constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

  std::uint64_t rate_ = 0;
  std::uint64_t burst_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t carry_ = 0;  // a part of a token, in 1/10^9
  Instant last_{};
  bool started_ = false;
};

}  // namespace natt
