// SPDX-License-Identifier: Apache-2.0
#include "libspa/src/replay_set.h"

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using natt::spa::ReplaySet;

TEST_CASE("spa replay set: holds what was inserted, through growth, until cleared", "[spa][replay_set]") {
  natt::test::SeededRandom random(natt::test::test_seed());
  ReplaySet set;
  set.reserve(10);
  std::vector<std::uint64_t> prints{0};
  while (prints.size() < 5000) prints.push_back(random.next_u64());
  for (const std::uint64_t print : prints) {
    CHECK_FALSE(set.contains(print));
    if (!set.insert(print)) {
      set.reserve(2 * set.size());
      REQUIRE(set.insert(print));
    }
  }

  for (const std::uint64_t print : prints) CHECK(set.contains(print));
  set.clear();
  CHECK(set.size() == 0);
  for (const std::uint64_t print : prints) CHECK_FALSE(set.contains(print));
}

TEST_CASE("spa replay set: full refuses and forgets nothing", "[spa][replay_set]") {
  ReplaySet set;
  set.reserve(10);
  REQUIRE(set.limit() >= 10);
  // All in one bucket: the worst case still ends.
  std::uint64_t print = 1;
  while (set.insert(print)) print += 1ull << 32;

  CHECK(set.size() == set.limit());
  CHECK_FALSE(set.contains(print));
  CHECK(set.contains(1));
}
