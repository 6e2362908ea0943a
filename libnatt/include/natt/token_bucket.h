// SPDX-License-Identifier: Apache-2.0
#pragma once

// A token bucket on a passed-in clock. Value type; holds no more than three words.

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
    // Longer than it takes to fill: also keeps the product below 2^64.
    if (elapsed / kNanosecondsPerSecond >= burst_ / rate_ + 1) {
      tokens_ = burst_;
      last_ = now;
      return;
    }
    const std::uint64_t seconds = elapsed / kNanosecondsPerSecond;
    const std::uint64_t rest = elapsed % kNanosecondsPerSecond;
    // Rates up to 2^34 a second fit rest * rate; beyond, count in microseconds.
    const std::uint64_t part = rate_ < (std::uint64_t{1} << 34) ? rest * rate_ / kNanosecondsPerSecond
                                                                : rest / 1000 * (rate_ / 1'000'000);
    const std::uint64_t earned = seconds * rate_ + part;
    if (earned == 0) return;  // keep `last_`, so that small steps add up
    tokens_ = std::min(burst_, tokens_ + earned);
    last_ = now;
  }

  static constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

  std::uint64_t rate_ = 0;
  std::uint64_t burst_ = 0;
  std::uint64_t tokens_ = 0;
  Instant last_{};
  bool started_ = false;
};

}  // namespace natt
