// SPDX-License-Identifier: Apache-2.0
#include <natt/random.h>

#include <sodium.h>

#include <cstdlib>

namespace natt {

std::uint64_t Random::next_u64() { return load_be<std::uint64_t>(bytes<8>().data()); }

std::uint64_t Random::uniform(std::uint64_t bound) {
  if (bound < 2) return 0;
  // Values below 2^64 mod bound would make the small results likelier: draw again.
  const std::uint64_t reject_below = (0 - bound) % bound;
  std::uint64_t value = next_u64();
  while (value < reject_below) value = next_u64();
  return value % bound;
}

void SystemRandom::fill(MutableBytes out) {
  if (sodium_init() < 0) std::abort();
  randombytes_buf(out.data(), out.size());
}

}  // namespace natt
