// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/connection_id.h>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

TEST_CASE("spa connection id: what the key made verifies, under this key only", "[spa][connection_id]") {
  test::SeededRandom random(test::test_seed());
  const ConnectionIdKey key(random);
  const ConnectionIdKey other(random);
  const ConnectionIdBytes id = key.make(random);

  CHECK(key.verify(id));
  CHECK_FALSE(other.verify(id));
  CHECK(key.make(random) != id);
}

TEST_CASE("spa connection id: every bit flip and every other length is refused", "[spa][connection_id]") {
  test::SeededRandom random(test::test_seed());
  const ConnectionIdKey key(random);
  const ConnectionIdBytes id = key.make(random);
  for (std::size_t bit = 0; bit < 8 * id.size(); ++bit) {
    ConnectionIdBytes flipped = id;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(key.verify(flipped));
  }
  for (std::size_t size = 0; size < id.size(); ++size) CHECK_FALSE(key.verify(ByteView(id).first(size)));
  ByteBuffer longer(id.begin(), id.end());
  longer.push_back(0);
  CHECK_FALSE(key.verify(longer));
}
