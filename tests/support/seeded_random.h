// SPDX-License-Identifier: Apache-2.0
#pragma once

// Random numbers that a failing run can be replayed from. Only tests link this.

#include <cstdint>

#include <natt/random.h>

namespace natt::test {

// xoshiro256** seeded by splitmix64: good enough to spread, useless for secrets.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed);
  void fill(MutableBytes out) override;

 private:
  std::uint64_t next();
  std::array<std::uint64_t, 4> state_{};
};

// The seed of this run: NATT_TEST_SEED when set, otherwise drawn from the
// system's generator; printed once on stderr so a failure can be replayed.
[[nodiscard]] std::uint64_t test_seed();

}  // namespace natt::test
