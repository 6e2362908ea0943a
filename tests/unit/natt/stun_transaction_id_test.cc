// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <natt/stun_credential.h>
#include <natt/stun_transaction_id.h>

#include "support/seeded_random.h"
#include "unit/natt/stun_hex.h"

namespace natt::test {
namespace {

StunTransactionKey counting_key() {
  StunTransactionKey key;
  for (std::size_t i = 0; i < StunTransactionKey::kSize; ++i) key.data()[i] = static_cast<std::uint8_t>(i);
  return key;
}

}  // namespace

TEST_CASE("stun: a transaction id is its nonce and the little-endian SipHash-2-4 of it", "[natt][stun]") {
  // Computed with an independent SipHash-2-4 (key 00..0f, message 00 01 02 03).
  const StunTransactionId id = make_transaction_id(counting_key(), 0x00010203);

  CHECK(ByteBuffer(id.bytes.begin(), id.bytes.end()) == from_hex("00010203 b7877127e09427cf"));
  CHECK(transaction_nonce(id) == 0x00010203);
  CHECK(has_valid_tag(counting_key(), id));
}

TEST_CASE("stun: a flipped bit or another key breaks the tag", "[natt][stun]") {
  SeededRandom random(test_seed());
  const StunTransactionKey key = counting_key();
  const StunTransactionId id = make_transaction_id(key, random);
  REQUIRE(has_valid_tag(key, id));

  for (std::size_t bit = 0; bit < id.bytes.size() * 8; ++bit) {
    StunTransactionId flipped = id;
    flipped.bytes[bit / 8] = static_cast<std::uint8_t>(flipped.bytes[bit / 8] ^ (1U << (bit % 8)));
    CAPTURE(bit);
    CHECK_FALSE(has_valid_tag(key, flipped));
  }
  StunTransactionKey other = key;
  other.data()[3] ^= 1;
  CHECK_FALSE(has_valid_tag(other, id));
}

TEST_CASE("stun: credentials are text of the fixed size and differ", "[natt][stun]") {
  SeededRandom random(test_seed());

  const StunCredential a = make_stun_credential(counting_key(), random);
  const StunCredential b = make_stun_credential(counting_key(), random);

  CHECK(a.username.size() == kStunUsernameSize);
  CHECK(a.username != b.username);
  CHECK_FALSE(a.password == b.password);
  CHECK(a.username.find(':') == std::string::npos);
}

}  // namespace natt::test
