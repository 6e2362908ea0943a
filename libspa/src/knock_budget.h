// SPDX-License-Identifier: Apache-2.0
#pragma once

// What one device may cost: fresh knocks by a token bucket, forged tags by a count per
// second, memory by a count of nonces per slot. Value types; the device table keeps one
// of each per device.

#include <array>
#include <cstdint>

#include <natt/spa/verifier.h>
#include <natt/time.h>

namespace natt::spa {

// Charges each knock id once (SPA: one logical knock on several carriers counts once).
class KnockMeter {
 public:
  enum class Charge : std::uint8_t { kFresh, kKnown, kRefused };

  // How long a knock id stays known: the repeats of a knock (300 ms), a SYN's (1.6 s) and the relay step's start
  // (2.5 s) share it; a wrap-around of the 16-bit number at the full client rate takes two hours.
  static constexpr std::chrono::seconds kIdLifetime{10};
  // Ids known at once. More concurrent knocks than this are charged per frame.
  static constexpr std::size_t kKnownIds = 8;

  [[nodiscard]] Charge charge(Instant now, std::uint16_t id, const KnockBudget& budget);

 private:
  void forget_expired(std::int64_t millis);
  [[nodiscard]] bool take_token(Instant now, const KnockBudget& budget);
  [[nodiscard]] bool is_used(std::size_t at) const { return (used_ >> at & 1) != 0; }

  struct Known {
    std::uint16_t since = 0;  // milliseconds, modulo 2^16
    std::uint16_t id = 0;
  };

  Instant full_at_{};  // when the bucket will be full again
  std::array<Known, kKnownIds> known_{};
  std::uint32_t last_look_ = 0;  // in seconds: when expired ids were last forgotten
  std::uint8_t used_ = 0;        // one bit per element of known_
  std::uint8_t next_ = 0;
};
static_assert(sizeof(KnockMeter) == 48);

// Caps the AEADs that a thief of Q can make a verifier open.
class ForgeryMeter {
 public:
  // 4 ms of one core a second: an AEAD of this size is opened in 0.35 to 0.4 us.
  static constexpr std::uint32_t kPerSecond = 10'000;

  [[nodiscard]] bool exhausted(Instant now) const { return second_of(now) == second_ && count_ >= kPerSecond; }
  void charge(Instant now);

 private:
  // Modulo 2^32.
  [[nodiscard]] static std::uint32_t second_of(Instant now) {
    return static_cast<std::uint32_t>(std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count() &
                                      0xffff'ffff);
  }

  std::uint32_t second_ = 0;
  std::uint32_t count_ = 0;
};

// Counts the nonces remembered in each of the three slots that are covered at a time.
class NonceMeter {
 public:
  static constexpr std::size_t kSlots = 3;

  // The count of `slot`, one of the kSlots from `first` on. Slots that are not among them are forgotten.
  [[nodiscard]] std::uint32_t& of(Slot first, Slot slot);

 private:
  std::uint32_t first_ = 0;  // the slot of counts_[0], modulo 2^32
  std::array<std::uint32_t, kSlots> counts_{};
};

}  // namespace natt::spa
