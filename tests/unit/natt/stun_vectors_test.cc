// SPDX-License-Identifier: Apache-2.0
// Vectors of RFC 5769 and RFC 8489 appendix B.1 (with errata 6268).

#include <catch2/catch_test_macros.hpp>

#include <openssl/md5.h>
#include <openssl/sha.h>

#include <array>

#include <natt/stun_builder.h>
#include <natt/stun_message.h>

#include "unit/natt/stun_hex.h"

namespace natt::test {
namespace {

constexpr std::string_view kPassword = "VOkJxbRl1RmTxUk/WvJxBt";
// "マトリックス" in UTF-8.
constexpr std::string_view kKatakanaUser = "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9";
constexpr std::string_view kNonce5769 = "f//499k954d6OL34oL9FSTvy64sA";

// RFC 5769 section 2.1
const ByteBuffer kSampleRequest = from_hex(
    "0001 0058 2112a442 b7e7a701bc34d686fa87dfae"         // header
    "8022 0010 5354554e207465737420636c69656e74"          // SOFTWARE "STUN test client"
    "0024 0004 6e0001ff"                                  // PRIORITY
    "8029 0008 932ff9b151263b36"                          // ICE-CONTROLLED
    "0006 0009 6576746a3a68367659 202020"                 // USERNAME "evtj:h6vY"
    "0008 0014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"  // MESSAGE-INTEGRITY
    "8028 0004 e57a3bcf");                                // FINGERPRINT

// RFC 5769 section 2.2
const ByteBuffer kIpv4Response = from_hex(
    "0101 003c 2112a442 b7e7a701bc34d686fa87dfae"
    "8022 000b 7465737420766563746f72 20"                 // SOFTWARE "test vector"
    "0020 0008 0001a147e112a643"                          // XOR-MAPPED-ADDRESS 192.0.2.1:32853
    "0008 0014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"  //
    "8028 0004 c07d4c96");

// RFC 5769 section 2.3
const ByteBuffer kIpv6Response = from_hex(
    "0101 0048 2112a442 b7e7a701bc34d686fa87dfae"
    "8022 000b 7465737420766563746f72 20"
    "0020 0014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"  // [2001:db8:1234:5678:11:2233:4455:6677]:32853
    "0008 0014 a382954e4be67bf11784c97c8292c275bfe3ed41"  //
    "8028 0004 c8fb0b4c");

// RFC 5769 section 2.4
const ByteBuffer kLongTermRequest = from_hex(
    "0001 0060 2112a442 78ad3433c6ad72c029da412e"
    "0006 0012 e3839ee38388e383aae38383e382afe382b9 0000"                 // USERNAME
    "0015 001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341"  // NONCE
    "0014 000b 6578616d706c652e6f7267 00"                                 // REALM "example.org"
    "0008 0014 f67024656dd64a3e02b8e0712e85c9a28ca89666");                // MESSAGE-INTEGRITY

// RFC 8489 appendix B.1
const ByteBuffer kSha256Request = from_hex(
    "0001 0090 2112a442 78ad3433c6ad72c029da412e"
    "001e 0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"  // USERHASH
    "0015 0029 6f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679363473 41 000000"
    "0014 000b 6578616d706c652e6f7267 00"
    "001d 0004 0002 0000"  // PASSWORD-ALGORITHM SHA-256
    "001c 0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65");

// RFC 8489 section 9.2.2, section 18.5.1
ByteBuffer long_term_key_md5() {
  const std::string text = std::string(kKatakanaUser) + ":example.org:TheMatrIX";
  ByteBuffer key(MD5_DIGEST_LENGTH);
  MD5(as_bytes(text).data(), text.size(), key.data());
  return key;
}

ByteBuffer long_term_key_sha256() {
  const std::string text = std::string(kKatakanaUser) + ":example.org:TheMatrIX";
  ByteBuffer key(SHA256_DIGEST_LENGTH);
  SHA256(as_bytes(text).data(), text.size(), key.data());
  return key;
}

}  // namespace

TEST_CASE("stun: RFC 5769 section 2.1 sample request is read and authentic", "[natt][stun]") {
  const auto message = StunMessage::parse(kSampleRequest);

  REQUIRE(message);
  CHECK(message->message_class() == StunClass::kRequest);
  CHECK(message->method() == kStunBinding);
  CHECK(message->text(StunAttribute::kSoftware) == "STUN test client");
  CHECK(message->text(StunAttribute::kUsername) == "evtj:h6vY");
  CHECK(message->number32(StunAttribute::kPriority) == 0x6e0001ffU);
  CHECK(message->number64(StunAttribute::kIceControlled) == 0x932ff9b151263b36U);
  CHECK(message->has_valid_integrity_sha1(as_bytes(kPassword)));
  CHECK(message->has_valid_fingerprint());
  CHECK_FALSE(message->has_valid_integrity_sha1(as_bytes("another password")));
  CHECK_FALSE(message->has_valid_integrity_sha256(as_bytes(kPassword)));
}

TEST_CASE("stun: RFC 5769 section 2.2 response tells 192.0.2.1:32853", "[natt][stun]") {
  const auto message = StunMessage::parse(kIpv4Response);

  REQUIRE(message);
  CHECK(message->message_class() == StunClass::kSuccess);
  CHECK(message->xor_mapped_address() == SocketAddress::parse("192.0.2.1:32853"));
  CHECK(message->text(StunAttribute::kSoftware) == "test vector");
  CHECK(message->has_valid_integrity_sha1(as_bytes(kPassword)));
  CHECK(message->has_valid_fingerprint());
}

TEST_CASE("stun: RFC 5769 section 2.3 response tells the IPv6 address", "[natt][stun]") {
  const auto message = StunMessage::parse(kIpv6Response);

  REQUIRE(message);
  CHECK(message->xor_mapped_address() == SocketAddress::parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853"));
  CHECK(message->has_valid_integrity_sha1(as_bytes(kPassword)));
  CHECK(message->has_valid_fingerprint());
}

TEST_CASE("stun: RFC 5769 section 2.4 long-term request is authentic", "[natt][stun]") {
  const auto message = StunMessage::parse(kLongTermRequest);

  REQUIRE(message);
  CHECK(message->text(StunAttribute::kUsername) == kKatakanaUser);
  CHECK(message->text(StunAttribute::kNonce) == kNonce5769);
  CHECK(message->text(StunAttribute::kRealm) == "example.org");
  CHECK(message->has_valid_integrity_sha1(long_term_key_md5()));
}

TEST_CASE("stun: RFC 8489 appendix B.1 request is authentic by MESSAGE-INTEGRITY-SHA256", "[natt][stun]") {
  const auto message = StunMessage::parse(kSha256Request);

  REQUIRE(message);
  CHECK(message->text(StunAttribute::kNonce) == "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
  CHECK(message->has_valid_integrity_sha256(long_term_key_sha256()));
  CHECK_FALSE(message->has_valid_integrity_sha256(long_term_key_md5()));
  std::array<std::uint16_t, 4> unknown{};
  CHECK(message->unknown_required(unknown) == 0);
}

TEST_CASE("stun: the builder reproduces the RFC vectors octet by octet", "[natt][stun]") {
  std::array<std::uint8_t, 256> out{};

  SECTION("RFC 5769 section 2.4") {
    const auto id = StunMessage::parse(kLongTermRequest)->transaction_id();
    StunBuilder builder(out, StunClass::kRequest, kStunBinding, id);
    builder.add_text(StunAttribute::kUsername, kKatakanaUser);
    builder.add_text(StunAttribute::kNonce, kNonce5769);
    builder.add_text(StunAttribute::kRealm, "example.org");
    builder.add_integrity_sha1(long_term_key_md5());
    const auto bytes = builder.finish();
    REQUIRE(bytes);
    CHECK(ByteBuffer(bytes->begin(), bytes->end()) == kLongTermRequest);
  }
  SECTION("RFC 8489 appendix B.1") {
    const auto vector = *StunMessage::parse(kSha256Request);
    StunBuilder builder(out, StunClass::kRequest, kStunBinding, vector.transaction_id());
    builder.add_bytes(StunAttribute::kUserhash, vector.find(StunAttribute::kUserhash)->value);
    builder.add_text(StunAttribute::kNonce, *vector.text(StunAttribute::kNonce));
    builder.add_text(StunAttribute::kRealm, "example.org");
    builder.add_number32(StunAttribute::kPasswordAlgorithm, 0x00020000);
    builder.add_integrity_sha256(long_term_key_sha256());
    const auto bytes = builder.finish();
    REQUIRE(bytes);
    CHECK(ByteBuffer(bytes->begin(), bytes->end()) == kSha256Request);
  }
  SECTION("RFC 5769 section 2.3, whose padding of blanks the builder writes as zeros") {
    const auto vector = *StunMessage::parse(kIpv6Response);
    StunBuilder builder(out, StunClass::kSuccess, kStunBinding, vector.transaction_id());
    builder.add_text(StunAttribute::kSoftware, "test vector");
    builder.add_xor_mapped_address(*vector.xor_mapped_address());
    const auto bytes = builder.finish();
    REQUIRE(bytes);
    CHECK(std::equal(bytes->begin() + 36, bytes->end(), kIpv6Response.begin() + 36, kIpv6Response.begin() + 60));
  }
}

}  // namespace natt::test
