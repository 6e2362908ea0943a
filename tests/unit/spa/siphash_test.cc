// SPDX-License-Identifier: Apache-2.0
#include <natt/siphash.h>

#include <array>
#include <numeric>

#include <catch2/catch_test_macros.hpp>

namespace {

// Key 00 01 .. 0f and message 00 01 .. (n-1), as in the SipHash paper, appendix A.
std::uint64_t paper_hash(std::size_t length) {
  std::array<std::uint8_t, 16> key{};
  std::iota(key.begin(), key.end(), std::uint8_t{0});
  natt::ByteBuffer message(length);
  std::iota(message.begin(), message.end(), std::uint8_t{0});
  return natt::siphash24(key, message);
}

}  // namespace

TEST_CASE("siphash: the vector of the paper's appendix A comes out", "[natt][siphash]") {
  CHECK(paper_hash(15) == 0xa129ca6149be45e5);
}

TEST_CASE("siphash: the authors' vectors for short messages come out", "[natt][siphash]") {
  CHECK(paper_hash(0) == 0x726fdb47dd0e0e31);
  CHECK(paper_hash(1) == 0x74f839c593dc67fd);
  CHECK(paper_hash(8) == 0x93f5f5799a932462);
}
