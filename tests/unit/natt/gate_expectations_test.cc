// SPDX-License-Identifier: Apache-2.0
// What a kernel gate is told of the datagrams that leave a gateway's socket.
#include <catch2/catch_test_macros.hpp>

#include <natt/gate_expectations.h>
#include <natt/relay_wire.h>
#include <natt/spa/udp_carrier.h>
#include <natt/stun_builder.h>
#include <tests/support/idle_gate.h>
#include <tests/support/seeded_random.h>

using namespace natt;
using natt::test::SeededRandom;

namespace {

const SocketAddress kRemote{*IpAddress::parse("198.51.100.10"), 443};

// Only remembers what is expected.
class NotingGate final : public test::IdleGate {
 public:
  void expect_answer(std::span<const std::uint8_t, 12> id, Duration lifetime) override {
    answers.emplace_back(id.begin(), id.end());
    CHECK(lifetime == kAnswerLifetime);
  }
  void expect_relay(const SocketAddress& relay, Duration lifetime) override {
    relays.push_back(relay);
    CHECK(lifetime == kRelayLifetime);
  }
  void expect_dns(const SocketAddress&, Duration) override { FAIL("nobody knocked over DNS"); }

  std::vector<ByteBuffer> answers;
  std::vector<SocketAddress> relays;
};

ByteBuffer stun(StunClass kind, const StunTransactionId& id) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, kind, kStunBinding, id);
  builder.add_fingerprint();
  const auto bytes = builder.finish();
  return {bytes->begin(), bytes->end()};
}

}  // namespace

TEST_CASE("gate expectations: a STUN request asks for an answer with its own transaction id", "[natt][gate]") {
  SeededRandom random(test::test_seed());
  NotingGate gate;
  const StunTransactionId id{random.bytes<12>()};
  expect_answers_to(gate, {.to = kRemote, .from = {}, .bytes = stun(StunClass::kRequest, id)});
  REQUIRE(gate.answers.size() == 1);
  CHECK(gate.answers[0] == ByteBuffer(id.bytes.begin(), id.bytes.end()));
  CHECK(gate.relays.empty());
}

TEST_CASE("gate expectations: answers and indications ask for nothing", "[natt][gate]") {
  SeededRandom random(test::test_seed());
  NotingGate gate;
  for (const StunClass kind : {StunClass::kSuccess, StunClass::kError, StunClass::kIndication}) {
    expect_answers_to(gate, {.to = kRemote, .from = {}, .bytes = stun(kind, {random.bytes<12>()})});
  }
  CHECK(gate.answers.empty());
  CHECK(gate.relays.empty());
}

TEST_CASE("gate expectations: a relay frame asks for frames from exactly where it goes", "[natt][gate]") {
  NotingGate gate;
  const RelayKey key(std::array<std::uint8_t, 32>{1});
  const ByteBuffer grant(80, 7);
  for (const RelayKind kind : {RelayKind::kBind, RelayKind::kEcho, RelayKind::kKeepalive}) {
    RelayControl control;
    control.header.kind = kind;
    control.grant = grant;
    expect_answers_to(gate, {.to = kRemote, .from = {}, .bytes = serialize_relay_control(control, key)});
  }
  CHECK(gate.relays == std::vector<SocketAddress>(3, kRemote));
  CHECK(gate.answers.empty());
}

TEST_CASE("gate expectations: nothing else asks for anything, however short", "[natt][gate]") {
  SeededRandom random(test::test_seed());
  NotingGate gate;
  const ByteBuffer request = stun(StunClass::kRequest, {random.bytes<12>()});
  for (std::size_t size = 0; size < kStunHeaderSize; ++size) {
    const ByteView start = ByteView(request).first(size);
    expect_answers_to(gate, {.to = kRemote, .from = {}, .bytes = ByteBuffer(start.begin(), start.end())});
  }
  for (const int first : {4, 11, 13, 20, 22, 63, 64, 0xc0, 0xff}) {
    ByteBuffer other = request;
    other[0] = static_cast<std::uint8_t>(first);
    expect_answers_to(gate, {.to = kRemote, .from = {}, .bytes = other});
  }
  CHECK(gate.answers.empty());
  CHECK(gate.relays.empty());
}
