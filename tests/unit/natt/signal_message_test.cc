// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_message.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include <natt/backoff.h>
#include <natt/errc.h>

#include "support/seeded_random.h"

using namespace natt;
using namespace std::chrono_literals;
using natt::test::SeededRandom;

namespace {

const SessionId kSession{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
const Identity kGateway{"hq", Role::kGateway, "gw1"};
const Identity kClient{"hq", Role::kClient, "alice"};
const WallTime kTime{std::chrono::milliseconds(1'795'392'000'000)};

SocketAddress address(const char* text) { return *SocketAddress::parse(text); }

// One of each, with every field set.
std::vector<SignalMessage> one_of_each() {
  const GatewayRegistration registration{
      .addresses = {address("203.0.113.7:443"), address("[2001:db8::7]:443")},
      .udp = {.nat = {NatMapping::kAddressAndPortDependent, NatFiltering::kNone}, .stun_answered = true},
      .load = {.sessions = 4, .capacity = 5},
      .boot_id = 6};
  const std::vector<Candidate> candidates{{address("192.0.2.1:1"), CandidateType::kMapped, {}}};
  const std::vector<IpAddress> vouched{*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")};
  StunCredentials stun{.lifetime = 1h, .servers = {address("198.51.100.10:443"), address("198.51.100.10:53")}};
  stun.credential.username = "AAAABBBBCCCCDDDD";
  RelayGrantMessage tcp{.session = kSession, .transport = RelayTransport::kTcp, .relay = address("198.51.100.10:443")};
  tcp.grant.expires = kTime;
  tcp.pairing_token = {9, 8, 7};
  RelayGrantMessage udp{.session = kSession, .relay = address("198.51.100.10:443")};
  udp.grant = {.session = {5}, .sealed = {1, 2}, .key = {}, .expires = kTime};
  return {SignalHello{1, 2, 3, 4, "natt-client 0.1"},
          SignalWelcome{1, 2, 3, kTime, address("203.0.113.5:40000"), 4},
          registration,
          GatewayDirectory{true, {{kGateway, true, registration}, {{"hq", Role::kGateway, "gw2"}, false, {}}}},
          OfferMessage{kSession, kGateway, {1, 2, 3}},
          ForwardedOffer{kSession, kClient, vouched, {1, 2, 3}},
          AnswerMessage{kSession, vouched, {4, 5}},
          OfferRejection{kSession, RefusalReason::kDraining},
          CandidateBatch{kSession, candidates, true, vouched},
          PunchStart{kSession, kTime},
          SessionEnd{kSession, SessionEndReason::kRevoked},
          RelayRequest{kSession, RelayTransport::kTcp},
          udp,
          tcp,
          RelayRefusal{kSession, RelayTransport::kUdp, RefusalReason::kQuota},
          RelayRenewal{kSession, RelayTransport::kUdp, {1}},
          StunCredentialsRequest{},
          stun,
          RosterChunk{7, RosterView::kFull, 100, 300, {1, 2}},
          RosterAck{7},
          KeyRenewal{{1, 2, 3}},
          DrainNotice{30s},
          Ping{1},
          Pong{1, kTime},
          SessionReport{kSession, kGateway, ConnectionType::kRelay, RelayReason::kHardNatBoth, true},
          PeerAbsent{{"hq", Role::kClient, "alice"}}};
}

}  // namespace

TEST_CASE("signal message: every kind survives the wire", "[natt][signal]") {
  std::set<std::size_t> kinds;
  for (const SignalMessage& message : one_of_each()) {
    CAPTURE(name_of(message));
    const auto body = serialize_signal(message);
    REQUIRE(body);

    const auto parsed = parse_signal(*body);

    REQUIRE(parsed);
    REQUIRE(*parsed);
    CHECK((*parsed)->index() == message.index());
    // All fields are in the bytes, so equal bytes are equal messages.
    CHECK(*serialize_signal(**parsed) == *body);
    kinds.insert(message.index());
  }
  CHECK(kinds.size() == std::variant_size_v<SignalMessage>);
}

TEST_CASE("signal message: the documented vectors", "[natt][signal]") {
  // docs/WIRE.md section 3.2.
  CHECK(*serialize_signal(Ping{7}) == ByteBuffer{0xb2, 0x01, 0x02, 0x08, 0x07});
  const ByteBuffer end{0x5a, 0x14,                                                        // field 11, 20 octets
                       0x0a, 0x10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,  // session
                       0x10, 0x01};                                                       // reason: closed
  CHECK(*serialize_signal(SessionEnd{kSession, SessionEndReason::kClosed}) == end);
}

// Not run by default: writes tests/fuzz/corpus/signal_message when the schema has grown.
//   NATT_SEED_DIR=tests/fuzz/corpus/signal_message unit_natt_signal '[seeds]'
TEST_CASE("signal message: write the fuzz seeds", "[.][seeds]") {
  const char* folder = std::getenv("NATT_SEED_DIR");
  REQUIRE(folder != nullptr);
  for (const SignalMessage& message : one_of_each()) {
    const auto* grant = std::get_if<RelayGrantMessage>(&message);
    const std::string suffix = grant != nullptr && grant->transport == RelayTransport::kTcp ? "-tcp" : "";
    const ByteBuffer body = *serialize_signal(message);
    std::ofstream file(std::string(folder) + "/" + std::string(name_of(message)) + suffix, std::ios::binary);
    file << as_text(body);
    CHECK(file.good());
  }
}

TEST_CASE("signal message: truncations and flipped bits never crash and never half-parse", "[natt][signal]") {
  for (const SignalMessage& message : one_of_each()) {
    CAPTURE(name_of(message));
    const ByteBuffer body = *serialize_signal(message);
    for (std::size_t size = 0; size < body.size(); ++size) {
      // A shorter one may be another valid message; what parses must serialize.
      const auto parsed = parse_signal(ByteView(body).first(size));
      if (parsed && *parsed) CHECK(serialize_signal(**parsed));
    }
    for (std::size_t bit = 0; bit < body.size() * 8; ++bit) {
      ByteBuffer flipped = body;
      flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
      const auto parsed = parse_signal(flipped);
      if (parsed && *parsed) CHECK(serialize_signal(**parsed));
    }
  }
}

TEST_CASE("signal message: values outside of the schema are neither sent nor taken", "[natt][signal]") {
  const std::vector<Candidate> many(kMaxSignalCandidates + 1);
  const std::vector<IpAddress> vouched(kMaxVouched + 1);
  const std::vector<SocketAddress> addresses(kMaxGatewayAddresses + 1);
  const SignalMessage bad[] = {
      SignalHello{.software = std::string(65, 'a')},
      SignalHello{.software = "two\nlines"},
      SignalHello{.version = 0},
      OfferMessage{kSession, kClient, {1}},
      OfferMessage{kSession, kGateway, {}},
      OfferMessage{kSession, kGateway, ByteBuffer(8193)},
      ForwardedOffer{kSession, kGateway, {}, {1}},
      AnswerMessage{kSession, vouched, {1}},
      CandidateBatch{kSession, many, false, {}},
      GatewayRegistration{.addresses = addresses},
      GatewayDirectory{true, std::vector<GatewayEntry>(kMaxDirectoryEntries + 1, {kGateway, false, {}})},
      RelayGrantMessage{.session = kSession, .grant = {.sealed = {}}},
      RelayGrantMessage{.session = kSession, .grant = {.sealed = ByteBuffer(1025)}},
      StunCredentials{},
      RosterChunk{0, RosterView::kFull, 0, 1, {1}},
      RosterChunk{1, RosterView::kFull, 1, 1, {1}},
      RosterChunk{1, RosterView::kFull, 0, 1, {1, 2}},
      RosterChunk{1, RosterView::kFull, 0, 1, {}},
      RosterChunk{1, RosterView::kFull, 0, (32u << 20) + 1, {1}},
      KeyRenewal{},
      KeyRenewal{ByteBuffer(32 * 1024 + 1)},
      DrainNotice{25h},
      SessionReport{kSession, kGateway, ConnectionType::kDirect, RelayReason::kForced, false},
      SessionReport{kSession, kClient, ConnectionType::kDirect, {}, false},
  };
  for (const SignalMessage& message : bad) {
    CAPTURE(name_of(message));
    CHECK(serialize_signal(message).error().code == Errc::kLimit);
  }
}

TEST_CASE("signal message: a full directory message fits", "[natt][signal]") {
  GatewayRegistration registration;
  registration.addresses.assign(kMaxGatewayAddresses, address("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"));
  registration.boot_id = UINT64_MAX;
  const Identity longest{std::string(63, 's'), Role::kGateway, std::string(63, 'g')};

  const auto body = serialize_signal(
      GatewayDirectory{true, std::vector<GatewayEntry>(kMaxDirectoryEntries, {longest, true, registration})});

  REQUIRE(body);
  CHECK(body->size() <= kMaxSignalMessage);
}

TEST_CASE("backoff: doubles with jitter up to its maximum and starts over", "[natt][signal]") {
  SeededRandom random(natt::test::test_seed());
  Backoff backoff(random, {.initial = 500ms, .maximum = 30s});
  Duration step = 500ms;
  for (int i = 0; i < 200; ++i) {
    CAPTURE(i);
    const Duration delay = backoff.next_delay();
    CHECK(delay >= step / 2);
    CHECK(delay <= step);
    step = std::min<Duration>(2 * step, 30s);
  }
  CHECK(backoff.failures() == 200);

  backoff.reset();

  CHECK(backoff.next_delay() <= 500ms);
}
