// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_wire.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

using namespace natt;

namespace {

RelayKey make_key(std::uint8_t first) {
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return RelayKey{std::span<const std::uint8_t, 32>(bytes)};
}

std::string to_hex(ByteView bytes) {
  std::string text;
  for (const std::uint8_t octet : bytes) {
    text += "0123456789abcdef"[octet >> 4];
    text += "0123456789abcdef"[octet & 15];
  }
  return text;
}

const ByteBuffer kGrant(70, 0xab);

RelayControl example(RelayKind kind) {
  RelayControl control;
  control.header = {kind, {0x01020304, 0x1112131415161718}};
  if (kind != RelayKind::kClosed) control.counter = 0x2122232425262728;
  if (kind == RelayKind::kBind || kind == RelayKind::kKeepalive || kind == RelayKind::kClose) {
    control.time = WallTime(std::chrono::milliseconds(1'700'000'000'123));
  }
  if (kind == RelayKind::kChallenge || kind == RelayKind::kEcho) control.cookie = {1, 2, 3, 4, 5, 6, 7, 8};
  if (kind == RelayKind::kBind) control.grant = kGrant;
  if (kind == RelayKind::kBound) control.peer_bound = true;
  if (kind == RelayKind::kClosed) control.reason = 3;
  return control;
}

const auto kControlKinds = {RelayKind::kBind,      RelayKind::kChallenge, RelayKind::kEcho,  RelayKind::kBound,
                            RelayKind::kKeepalive, RelayKind::kClose,     RelayKind::kClosed};

std::size_t expected_size(RelayKind kind) {
  switch (kind) {
    case RelayKind::kBind:
      return 14 + 16 + 70 + 16;
    case RelayKind::kBound:
      return 39;
    case RelayKind::kClosed:
      return 31;
    case RelayKind::kData:
    case RelayKind::kChallenge:
    case RelayKind::kEcho:
    case RelayKind::kKeepalive:
    case RelayKind::kClose:
      return 46;
  }
  return 0;
}

}  // namespace

TEST_CASE("relay wire: the header is fourteen octets, kind, slot and tag", "[natt][relay]") {
  const auto header = make_relay_header(RelayKind::kData, {0x01020304, 0x1112131415161718});
  CHECK(to_hex(header) == "0c00" "01020304" "1112131415161718");

  const auto parsed = parse_relay_header(header);
  REQUIRE(parsed);
  CHECK(parsed->kind == RelayKind::kData);
  CHECK(parsed->leg == RelayLegId{0x01020304, 0x1112131415161718});
}

TEST_CASE("relay wire: a header that is short, foreign or of an unknown kind is refused", "[natt][relay]") {
  const auto header = make_relay_header(RelayKind::kClosed, {1, 2});
  for (std::size_t size = 0; size < header.size(); ++size) {
    CHECK_FALSE(parse_relay_header(ByteView(header).first(size)));
  }
  auto foreign = header;
  foreign[0] = 0x0d;
  CHECK_FALSE(parse_relay_header(foreign));
  auto unknown = header;
  unknown[1] = 8;
  CHECK_FALSE(parse_relay_header(unknown));
}

TEST_CASE("relay wire: a keepalive is these bytes", "[natt][relay]") {
  // docs/WIRE.md section 6.
  CHECK(to_hex(serialize_relay_control(example(RelayKind::kKeepalive), make_key(0))) ==
        "0c05"              // relay, keepalive
        "01020304"          // slot
        "1112131415161718"  // tag
        "2122232425262728"  // counter
        "0000018bcfe5687b"  // 1700000000123 ms
        "7c29d5c2e4d2c68d34d0b08936557fa3");  // HMAC-SHA256 under 00 01 .. 1f, first 16 octets
}

TEST_CASE("relay wire: every control frame survives the round trip", "[natt][relay]") {
  const RelayKind kind = GENERATE(values(kControlKinds));
  CAPTURE(static_cast<int>(kind));
  const RelayControl control = example(kind);

  const ByteBuffer frame = serialize_relay_control(control, make_key(7));
  CHECK(frame.size() == expected_size(kind));
  const auto parsed = parse_relay_control(frame);
  REQUIRE(parsed);

  CHECK(parsed->header.kind == kind);
  CHECK(parsed->header.leg == control.header.leg);
  CHECK(parsed->counter == control.counter);
  CHECK(parsed->time == control.time);
  CHECK(parsed->cookie == control.cookie);
  CHECK(ByteBuffer(parsed->grant.begin(), parsed->grant.end()) ==
        ByteBuffer(control.grant.begin(), control.grant.end()));
  CHECK(parsed->peer_bound == control.peer_bound);
  CHECK(parsed->reason == control.reason);
  CHECK(verify_relay_frame(frame, make_key(7)));
  CHECK_FALSE(verify_relay_frame(frame, make_key(8)));
}

TEST_CASE("relay wire: every truncation and every extension is refused", "[natt][relay]") {
  const RelayKind kind = GENERATE(values(kControlKinds));
  CAPTURE(static_cast<int>(kind));
  const RelayKey key = make_key(7);
  ByteBuffer frame = serialize_relay_control(example(kind), key);

  for (std::size_t size = 0; size < frame.size(); ++size) {
    CAPTURE(size);
    const ByteView cut = ByteView(frame).first(size);
    // A bind's grant takes whatever stands before the MAC, so there a cut shows in the MAC only.
    CHECK_FALSE((parse_relay_control(cut) && verify_relay_frame(cut, key)));
    if (kind != RelayKind::kBind) CHECK_FALSE(parse_relay_control(cut));
  }
  frame.push_back(0);
  CHECK_FALSE((parse_relay_control(frame) && verify_relay_frame(frame, key)));
  if (kind != RelayKind::kBind) CHECK_FALSE(parse_relay_control(frame));
}

TEST_CASE("relay wire: every flipped bit breaks the MAC", "[natt][relay]") {
  const RelayKind kind = GENERATE(values(kControlKinds));
  CAPTURE(static_cast<int>(kind));
  ByteBuffer frame = serialize_relay_control(example(kind), make_key(7));

  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    frame[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    if (verify_relay_frame(frame, make_key(7))) FAIL("bit " << bit);
    frame[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
  CHECK(verify_relay_frame(frame, make_key(7)));
}

TEST_CASE("relay wire: a bind carries a grant of 1 to 320 octets", "[natt][relay]") {
  RelayControl control = example(RelayKind::kBind);
  const auto parses = [&](std::size_t size) {
    const ByteBuffer grant(size, 1);
    control.grant = grant;
    return parse_relay_control(serialize_relay_control(control, make_key(1))).has_value();
  };
  CHECK_FALSE(parses(0));
  CHECK(parses(1));
  CHECK(parses(kRelayGrantMaximum));
  CHECK_FALSE(parses(kRelayGrantMaximum + 1));
}

TEST_CASE("relay wire: a data frame is no control frame", "[natt][relay]") {
  ByteBuffer frame(100, 0);
  frame[0] = kRelayFirstByte;
  CHECK(parse_relay_header(frame));
  CHECK_FALSE(parse_relay_control(frame));
}

TEST_CASE("relay wire: a time beyond the year 9999 is refused", "[natt][relay]") {
  ByteBuffer frame = serialize_relay_control(example(RelayKind::kKeepalive), make_key(7));
  frame[22] = 0x7f;
  CHECK_FALSE(parse_relay_control(frame));
}

TEST_CASE("relay wire: unknown flags of a bound frame are ignored", "[natt][relay]") {
  ByteBuffer frame = serialize_relay_control(example(RelayKind::kBound), make_key(7));
  frame[22] = 0xfe;
  const auto parsed = parse_relay_control(frame);
  REQUIRE(parsed);
  CHECK_FALSE(parsed->peer_bound);
}
