// SPDX-License-Identifier: Apache-2.0
#pragma once

// Randomness is an argument of every core that needs it, so tests can replay a
// run from its printed seed. Production code passes SystemRandom.

#include <array>
#include <cstddef>
#include <cstdint>

#include <natt/bytes.h>

namespace natt {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(MutableBytes out) = 0;

  template <std::size_t N>
  [[nodiscard]] std::array<std::uint8_t, N> bytes() {
    std::array<std::uint8_t, N> out{};
    fill(out);
    return out;
  }
  [[nodiscard]] std::uint64_t next_u64();
  // Uniform in [0, bound), without modulo bias; 0 when bound is 0.
  [[nodiscard]] std::uint64_t uniform(std::uint64_t bound);
};

// The operating system's generator by way of libsodium. Aborts the process when
// it fails: there is no fallback (a predictable nonce would open every door).
// Value type without state; usable from any thread.
class SystemRandom final : public Random {
 public:
  void fill(MutableBytes out) override;
};

}  // namespace natt
