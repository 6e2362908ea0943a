// SPDX-License-Identifier: Apache-2.0
#include <natt/blake2b.h>

#include <string>

#include <catch2/catch_test_macros.hpp>

using natt::as_bytes;

namespace {

std::string hex(natt::ByteView bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("blake2b: the vector of RFC 7693 appendix A comes out", "[natt][blake2b]") {
  CHECK(hex(natt::blake2b<64>(as_bytes("abc"))) ==
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
}

TEST_CASE("blake2b: parts hash as their concatenation", "[natt][blake2b]") {
  CHECK(natt::blake2b<32>({as_bytes("a"), as_bytes(""), as_bytes("bc")}) == natt::blake2b<32>(as_bytes("abc")));
}

TEST_CASE("blake2b: size and key enter the hash", "[natt][blake2b]") {
  const auto small = natt::blake2b<16>(as_bytes("abc"));
  const auto large = natt::blake2b<32>(as_bytes("abc"));

  CHECK_FALSE(std::equal(small.begin(), small.end(), large.begin()));
  CHECK(natt::blake2b_keyed<32>(as_bytes("0123456789abcdef"), as_bytes("abc")) != large);
  CHECK(natt::blake2b_keyed<32>(as_bytes("0123456789abcdef"), as_bytes("abc")) !=
        natt::blake2b_keyed<32>(as_bytes("0123456789abcdeg"), as_bytes("abc")));
}
