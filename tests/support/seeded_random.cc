// SPDX-License-Identifier: Apache-2.0
#include "support/seeded_random.h"

#include <bit>
#include <cstdio>
#include <cstdlib>

namespace natt::test {

SeededRandom::SeededRandom(std::uint64_t seed) {
  for (auto& word : state_) {
    seed += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    word = mixed ^ (mixed >> 31);
  }
}

std::uint64_t SeededRandom::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::fill(MutableBytes out) {
  for (std::size_t i = 0; i < out.size(); i += 8) {
    std::uint64_t word = next();
    for (std::size_t j = i; j < out.size() && j < i + 8; ++j, word >>= 8) out[j] = static_cast<std::uint8_t>(word & 0xff);
  }
}

std::uint64_t test_seed() {
  static const std::uint64_t seed = [] {
    const char* given = std::getenv("NATT_TEST_SEED");
    SystemRandom system;
    const std::uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 0) : system.next_u64();
    std::fprintf(stderr, "NATT_TEST_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

}  // namespace natt::test
