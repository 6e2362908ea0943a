// SPDX-License-Identifier: Apache-2.0
#include <natt/bytes.h>
#include <natt/secret.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;

TEST_CASE("secret: compared in full, and never equal to another size", "[spa][secret]") {
  const ByteBuffer a(16, 0x11);
  for (std::size_t at = 0; at < a.size(); ++at) {
    ByteBuffer b = a;
    CHECK(constant_time_equal(a, b));
    b[at] ^= 0x80;
    CHECK_FALSE(constant_time_equal(a, b));
  }
  CHECK_FALSE(constant_time_equal(a, ByteView(a).first(15)));
  CHECK_FALSE(constant_time_equal(a, {}));
  CHECK(constant_time_equal({}, {}));
}

TEST_CASE("secret: what was moved from holds nothing any more", "[spa][secret]") {
  const ByteBuffer octets(32, 0x7e);
  const Secret<32> empty;
  Secret<32> first{std::span<const std::uint8_t, 32>(octets)};
  const Secret<32> copy = first;
  Secret<32> second = std::move(first);
  CHECK(second == copy);
  // NOLINTNEXTLINE(bugprone-use-after-move): that is the point.
  CHECK(first == empty);
  first = std::move(second);
  CHECK(first == copy);
  CHECK(second == empty);
  // Onto itself: kept, not wiped.
  Secret<32>& same = first;
  first = std::move(same);
  CHECK(first == copy);
}

TEST_CASE("bytes: a read past the end takes nothing", "[spa][bytes]") {
  const ByteBuffer octets{1, 2, 3, 4, 5};
  ByteReader reader(octets);
  CHECK(reader.read<std::uint32_t>() == 0x01020304u);
  CHECK_FALSE(reader.read<std::uint16_t>());
  CHECK_FALSE(reader.read_bytes(2));
  CHECK(reader.rest().size() == 1);
  CHECK(reader.read_bytes(1).has_value());
  CHECK(reader.empty());
  CHECK_FALSE(reader.read<std::uint8_t>());
  CHECK(reader.read_bytes(0).has_value());
}
