// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <functional>

#include <natt/stun_builder.h>
#include <natt/stun_message.h>

#include "unit/natt/stun_hex.h"

namespace natt::test {
namespace {

const StunTransactionId kId{{0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae}};
const ByteBuffer kKey(32, 0x5a);

ByteBuffer build(const std::function<void(StunBuilder&)>& fill, StunClass message_class = StunClass::kRequest) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, message_class, kStunBinding, kId);
  fill(builder);
  const auto bytes = builder.finish();
  REQUIRE(bytes);
  return {bytes->begin(), bytes->end()};
}

ByteBuffer sealed_request() {
  return build([](StunBuilder& builder) {
    builder.add_text(StunAttribute::kUsername, "bob:alice");
    builder.add_number32(StunAttribute::kPriority, 0x01020304);
    builder.add_integrity_sha256(kKey);
    builder.add_fingerprint();
  });
}

bool authentic(ByteView bytes) {
  const auto message = StunMessage::parse(bytes);
  return message && message->has_valid_fingerprint() && message->has_valid_integrity_sha256(kKey);
}

std::vector<std::uint16_t> types_of(ByteView bytes) {
  std::vector<std::uint16_t> types;
  const auto message = StunMessage::parse(bytes);
  REQUIRE(message);
  for (const StunAttributeView& attribute : *message) types.push_back(attribute.type);
  return types;
}

}  // namespace

TEST_CASE("stun: a bare header is a message without attributes", "[natt][stun]") {
  const ByteBuffer bytes = build([](StunBuilder&) {});

  REQUIRE(bytes.size() == kStunHeaderSize);
  CHECK(bytes == from_hex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae"));
  CHECK(types_of(bytes).empty());
}

TEST_CASE("stun: class and method survive the interleaved message type", "[natt][stun]") {
  const auto message_class =
      GENERATE(StunClass::kRequest, StunClass::kIndication, StunClass::kSuccess, StunClass::kError);
  const auto method = static_cast<std::uint16_t>(GENERATE(0x000, 0x001, 0x00f, 0x010, 0x070, 0x080, 0xf80, 0xfff));
  std::array<std::uint8_t, kStunHeaderSize> out{};

  StunBuilder builder(out, message_class, method, kId);
  const auto message = StunMessage::parse(*builder.finish());

  REQUIRE(message);
  CHECK(message->message_class() == message_class);
  CHECK(message->method() == method);
  CHECK(message->transaction_id() == kId);
}

TEST_CASE("stun: parse rejects the empty datagram and every truncation", "[natt][stun]") {
  const ByteBuffer bytes = sealed_request();

  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(StunMessage::parse(ByteView(bytes).first(size)));
  }
}

TEST_CASE("stun: parse rejects trailing bytes", "[natt][stun]") {
  ByteBuffer bytes = sealed_request();
  const auto extra = static_cast<std::size_t>(GENERATE(1, 2, 3, 4, 8));

  bytes.resize(bytes.size() + extra);

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: parse rejects a length that is not the datagram's", "[natt][stun]") {
  ByteBuffer bytes = sealed_request();
  const int change = GENERATE(-4, -1, 1, 4, 256);

  store_be(&bytes[2], static_cast<std::uint16_t>(load_be<std::uint16_t>(&bytes[2]) + change));

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: parse rejects a length that is not a multiple of 4", "[natt][stun]") {
  ByteBuffer bytes = build([](StunBuilder&) {});
  bytes.push_back(0);
  store_be(&bytes[2], std::uint16_t{1});

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: parse rejects other protocols' first bits and another cookie", "[natt][stun]") {
  ByteBuffer bytes = sealed_request();

  SECTION("first bit") { bytes[0] |= 0x80; }
  SECTION("second bit") { bytes[0] |= 0x40; }
  SECTION("cookie") { bytes[7] ^= 1; }

  CHECK_FALSE(StunMessage::is_stun(bytes));
  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: parse rejects attributes that reach past the end", "[natt][stun]") {
  // One attribute of two words; its length is the only thing that changes.
  const auto length = static_cast<std::uint16_t>(GENERATE(9, 10, 12, 255, 65532, 65533, 65535));
  ByteBuffer bytes = build([](StunBuilder& builder) { builder.add_number64(StunAttribute::kIceControlled, 1); });
  store_be(&bytes[kStunHeaderSize + 2], length);

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: an attribute's length may be anything that its padding hides", "[natt][stun]") {
  const auto length = static_cast<std::uint16_t>(GENERATE(5, 6, 7, 8));
  ByteBuffer bytes = build([](StunBuilder& builder) { builder.add_number64(StunAttribute::kIceControlled, 1); });
  store_be(&bytes[kStunHeaderSize + 2], length);

  const auto message = StunMessage::parse(bytes);

  REQUIRE(message);
  CHECK(message->find(StunAttribute::kIceControlled)->value.size() == length);
  CHECK(message->number64(StunAttribute::kIceControlled).has_value() == (length == 8));
}

TEST_CASE("stun: parse rejects a message larger than any of ours", "[natt][stun]") {
  ByteBuffer bytes(kStunMaxMessageSize + 4);
  const ByteBuffer header = build([](StunBuilder&) {});
  std::copy(header.begin(), header.end(), bytes.begin());
  store_be(&bytes[2], static_cast<std::uint16_t>(bytes.size() - kStunHeaderSize));

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: nothing may follow FINGERPRINT", "[natt][stun]") {
  const ByteBuffer bytes = build([](StunBuilder& builder) {
    builder.add_fingerprint();
    builder.add_text(StunAttribute::kSoftware, "late");
  });

  CHECK_FALSE(StunMessage::parse(bytes));
}

TEST_CASE("stun: what follows an integrity attribute is ignored, but for the stronger ones", "[natt][stun]") {
  using enum StunAttribute;
  const auto number = [](StunAttribute type) { return static_cast<std::uint16_t>(type); };

  SECTION("after MESSAGE-INTEGRITY only SHA-256 and FINGERPRINT count") {
    const ByteBuffer bytes = build([](StunBuilder& builder) {
      builder.add_integrity_sha1(kKey);
      builder.add_text(kUsername, "late");
      builder.add_integrity_sha256(kKey);
      builder.add_fingerprint();
    });
    CHECK(types_of(bytes) ==
          std::vector{number(kMessageIntegrity), number(kMessageIntegritySha256), number(kFingerprint)});
    CHECK_FALSE(StunMessage::parse(bytes)->text(kUsername));
  }
  SECTION("after MESSAGE-INTEGRITY-SHA256 only FINGERPRINT counts") {
    const ByteBuffer bytes = build([](StunBuilder& builder) {
      builder.add_integrity_sha256(kKey);
      builder.add_integrity_sha1(kKey);
      builder.add_xor_mapped_address(*SocketAddress::parse("192.0.2.1:1"));
    });
    CHECK(types_of(bytes) == std::vector{number(kMessageIntegritySha256)});
    CHECK_FALSE(StunMessage::parse(bytes)->xor_mapped_address());
  }
}

TEST_CASE("stun: of several attributes of a type the first counts", "[natt][stun]") {
  const ByteBuffer bytes = build([](StunBuilder& builder) {
    builder.add_text(StunAttribute::kUsername, "first");
    builder.add_text(StunAttribute::kUsername, "second");
  });

  CHECK(StunMessage::parse(bytes)->text(StunAttribute::kUsername) == "first");
}

TEST_CASE("stun: addresses round-trip, XORed and plain, of both families", "[natt][stun]") {
  const auto* text = GENERATE("192.0.2.1:32853", "255.255.255.255:65535", "[2001:db8::1]:1", "[::]:0");
  const SocketAddress address = *SocketAddress::parse(text);
  const ByteBuffer bytes = build([&](StunBuilder& builder) {
    builder.add_xor_mapped_address(address);
    builder.add_address(StunAttribute::kMappedAddress, address);
    builder.add_address(StunAttribute::kOtherAddress, address);
  });

  const auto message = StunMessage::parse(bytes);

  CHECK(message->xor_mapped_address() == address);
  CHECK(message->mapped_address() == address);
  CHECK(message->address(StunAttribute::kOtherAddress) == address);
  CHECK_FALSE(message->address(StunAttribute::kResponseOrigin));
}

TEST_CASE("stun: an address of a wrong family or size is no address", "[natt][stun]") {
  const auto* value = GENERATE("", "0001a147", "0001a147e112a6", "0001a147e112a643 00000000", "0002a147e112a643",
                               "0000a147e112a643", "0003a147e112a643", "0001a1470113a9faa5d3f179bc25f4b5bed2b9d9");
  const ByteBuffer bytes =
      build([&](StunBuilder& builder) { builder.add_bytes(StunAttribute::kXorMappedAddress, from_hex(value)); });

  CHECK_FALSE(StunMessage::parse(bytes)->xor_mapped_address());
}

TEST_CASE("stun: error codes round-trip and nonsense is none", "[natt][stun]") {
  const ByteBuffer bytes = build([](StunBuilder& builder) { builder.add_error_code(438, "Stale Nonce"); });
  const auto error = StunMessage::parse(bytes)->error_code();
  REQUIRE(error);
  CHECK(error->code == 438);
  CHECK(error->reason == "Stale Nonce");

  const auto* value = GENERATE("", "000004", "00000200", "00000700", "00000464");
  const ByteBuffer nonsense =
      build([&](StunBuilder& builder) { builder.add_bytes(StunAttribute::kErrorCode, from_hex(value)); });
  CHECK_FALSE(StunMessage::parse(nonsense)->error_code());
}

TEST_CASE("stun: unknown comprehension-required attributes are listed once", "[natt][stun]") {
  const ByteBuffer bytes = build([](StunBuilder& builder) {
    builder.add_flag(static_cast<StunAttribute>(0x7abc));
    builder.add_flag(static_cast<StunAttribute>(0x7abc));
    builder.add_flag(static_cast<StunAttribute>(0x0027));  // RESPONSE-PORT, not honoured
    builder.add_flag(static_cast<StunAttribute>(0x0026));  // PADDING, not honoured
    builder.add_flag(static_cast<StunAttribute>(0xabcd));  // comprehension-optional
    builder.add_text(StunAttribute::kUsername, "known");
  });
  std::array<std::uint16_t, 8> unknown{};

  REQUIRE(StunMessage::parse(bytes)->unknown_required(unknown) == 3);
  CHECK(unknown[0] == 0x7abc);
  CHECK(unknown[1] == 0x0027);
  CHECK(unknown[2] == 0x0026);
  CHECK(StunMessage::parse(bytes)->unknown_required(std::span(unknown).first(1)) == 1);
}

TEST_CASE("stun: a flipped bit anywhere breaks a sealed message", "[natt][stun]") {
  const ByteBuffer bytes = sealed_request();
  REQUIRE(authentic(bytes));

  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    ByteBuffer flipped = bytes;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    CAPTURE(bit);
    CHECK_FALSE(authentic(flipped));
  }
}

TEST_CASE("stun: integrity catches a flipped bit even when FINGERPRINT is mended", "[natt][stun]") {
  const ByteBuffer bytes = sealed_request();
  const std::size_t covered = StunMessage::parse(bytes)->find(StunAttribute::kMessageIntegritySha256)->offset;

  for (std::size_t bit = 0; bit < covered * 8; ++bit) {
    ByteBuffer flipped = bytes;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    const auto message = StunMessage::parse(flipped);
    CAPTURE(bit);
    CHECK_FALSE((message && message->has_valid_integrity_sha256(kKey)));
  }
}

TEST_CASE("stun: truncated SHA-256 values and a missing attribute are not authentic", "[natt][stun]") {
  const auto size = static_cast<std::size_t>(GENERATE(0, 16, 20, 28));
  const ByteBuffer sealed = sealed_request();
  const ByteBuffer value = [&] {
    const auto full = StunMessage::parse(sealed)->find(StunAttribute::kMessageIntegritySha256)->value;
    return ByteBuffer(full.begin(), full.begin() + static_cast<std::ptrdiff_t>(size));
  }();
  const ByteBuffer bytes = build([&](StunBuilder& builder) {
    builder.add_text(StunAttribute::kUsername, "bob:alice");
    builder.add_number32(StunAttribute::kPriority, 0x01020304);
    if (size > 0) builder.add_bytes(StunAttribute::kMessageIntegritySha256, value);
  });

  CHECK_FALSE(StunMessage::parse(bytes)->has_valid_integrity_sha256(kKey));
}

TEST_CASE("stun: the builder refuses what does not fit and never writes past its room", "[natt][stun]") {
  const ByteBuffer whole = sealed_request();

  for (std::size_t size = 0; size < whole.size(); ++size) {
    ByteBuffer out(whole.size(), 0xee);
    StunBuilder builder(MutableBytes(out).first(size), StunClass::kRequest, kStunBinding, kId);
    builder.add_text(StunAttribute::kUsername, "bob:alice");
    builder.add_number32(StunAttribute::kPriority, 0x01020304);
    builder.add_integrity_sha256(kKey);
    builder.add_fingerprint();
    CAPTURE(size);
    CHECK_FALSE(builder.finish());
    CHECK(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(size), out.end(), [](auto o) { return o == 0xee; }));
  }
}

TEST_CASE("stun: the builder refuses a message longer than the largest", "[natt][stun]") {
  ByteBuffer out(4096);
  StunBuilder builder(out, StunClass::kRequest, kStunBinding, kId);

  builder.add_text(StunAttribute::kSoftware, std::string(kStunMaxMessageSize, 'x'));

  CHECK_FALSE(builder.finish());
}

TEST_CASE("stun: fill makes a request as long as asked", "[natt][stun]") {
  const auto wanted = static_cast<std::size_t>(GENERATE(0, 76, 80, 84, 88, 100, 112, 136, 200));
  const ByteBuffer bytes = build([&](StunBuilder& builder) {
    builder.add_text(StunAttribute::kUsername, "bob:alice");
    builder.add_fill(wanted);
    builder.add_integrity_sha256(kKey);
    builder.add_fingerprint();
  });

  CHECK(bytes.size() >= wanted);
  CHECK(bytes.size() <= std::max<std::size_t>(wanted + 4, 80));
  CHECK(authentic(bytes));
}

}  // namespace natt::test
