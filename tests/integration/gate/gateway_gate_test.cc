// SPDX-License-Identifier: Apache-2.0
// What the kernel gate lets through to a tunnel's socket because it was asked for, and that
// nothing else comes through, over real loopback sockets.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <thread>

#include <natt/siphash.h>

#include "tests/integration/gate/gate_fixture.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

using TransactionId = std::array<std::uint8_t, 12>;

constexpr std::uint16_t kRequest = 0x0001;
constexpr std::uint16_t kSuccess = 0x0101;
constexpr std::uint16_t kError = 0x0111;

TransactionId tagged(const Secret<16>& key, Random& random) {
  TransactionId id{};
  const auto nonce = random.bytes<4>();
  std::copy(nonce.begin(), nonce.end(), id.begin());
  std::uint64_t tag = siphash24(key.view(), nonce);
  for (std::size_t i = 4; i < id.size(); ++i, tag >>= 8) id[i] = static_cast<std::uint8_t>(tag & 0xff);
  return id;
}

// A STUN message with one attribute of four octets.
ByteBuffer stun(std::uint16_t type, const TransactionId& id) {
  ByteBuffer bytes{0, 0, 0, 8, 0x21, 0x12, 0xa4, 0x42};
  store_be(bytes.data(), type);
  bytes.insert(bytes.end(), id.begin(), id.end());
  bytes.insert(bytes.end(), {0x80, 0x28, 0, 4, 1, 2, 3, 4});
  return bytes;
}

ByteBuffer relay_frame(std::uint8_t kind, std::size_t size) {
  ByteBuffer bytes(size, 0x5a);
  bytes[0] = 0x0c;
  bytes[1] = kind;
  return bytes;
}

// Header and one question of the root, as a proxy gives them back.
ByteBuffer dns_answer(std::uint8_t first) {
  return {first, 0x34, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1};
}

Secret<16> give_stun_key(KernelGate& gate, Random& random) {
  const Secret<16> key(random.bytes<16>());
  gate.set_stun_keys({&key, 1});
  return key;
}

}  // namespace

TEST_CASE("gateway gate: an answer passes once it is expected, not before and not after", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  // Its tag proves nothing: answers to checks carry ids under the gateway's own key, which every peer has.
  const Secret<16> own = give_stun_key(*gate, random);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, GENERATE(Family::kV4, Family::kV6));
  for (const TransactionId& id : {random.bytes<12>(), tagged(own, random)}) {
    for (const std::uint16_t type : {kSuccess, kError}) {
      CHECK(tunnel.verdict(stun(type, id)) == GateVerdict::kBadStunTag);
    }
    gate->expect_answer(id, minutes(1));
    for (const std::uint16_t type : {kSuccess, kError}) {
      CHECK(tunnel.verdict(stun(type, id)) == GateVerdict::kStun);
    }
    for (std::size_t bit = 0; bit < 96; ++bit) {
      TransactionId other = id;
      other[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
      CAPTURE(bit);
      REQUIRE(tunnel.verdict(stun(kSuccess, other)) == GateVerdict::kBadStunTag);
    }
    gate->expect_answer(id, milliseconds(0));
    CHECK(tunnel.verdict(stun(kSuccess, id)) == GateVerdict::kBadStunTag);
  }
}

TEST_CASE("gateway gate: an expectation ends by itself and can be prolonged", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  const TransactionId shortly = random.bytes<12>();
  const TransactionId prolonged = random.bytes<12>();
  gate->expect_answer(shortly, milliseconds(30));
  gate->expect_answer(prolonged, milliseconds(30));
  gate->expect_answer(prolonged, minutes(1));
  gate->expect_relay(tunnel.sender_address(), milliseconds(30));
  std::this_thread::sleep_for(milliseconds(40));
  CHECK(tunnel.verdict(stun(kSuccess, shortly)) == GateVerdict::kBadStunTag);
  CHECK(tunnel.verdict(stun(kSuccess, prolonged)) == GateVerdict::kStun);
  CHECK(tunnel.verdict(relay_frame(0, 100)) == GateVerdict::kBadRelay);
}

TEST_CASE("gateway gate: a request passes by its tag alone, and other kinds of STUN never", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  const Secret<16> own = give_stun_key(*gate, random);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  CHECK(tunnel.verdict(stun(kRequest, tagged(own, random))) == GateVerdict::kStun);
  // What we ask ourselves is no permission to ask us.
  const TransactionId asked = random.bytes<12>();
  gate->expect_answer(asked, minutes(1));
  CHECK(tunnel.verdict(stun(kRequest, asked)) == GateVerdict::kBadStunTag);
  for (std::uint32_t type = 0; type < 0x4000; type += 1 + type / 64) {
    if (type == kRequest || type == kSuccess || type == kError) continue;
    CAPTURE(type);
    CHECK_FALSE(passes(tunnel.verdict(stun(static_cast<std::uint16_t>(type), tagged(own, random)))));
    CHECK_FALSE(passes(tunnel.verdict(stun(static_cast<std::uint16_t>(type), asked))));
  }
}

TEST_CASE("gateway gate: the oldest expectations make room", "[gate]") {
  const auto gate = make_gate({.max_awaited = 4096});
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  const TransactionId first = random.bytes<12>();
  gate->expect_answer(first, minutes(1));
  for (int i = 0; i < 20'000; ++i) gate->expect_answer(random.bytes<12>(), minutes(1));
  CHECK_FALSE(passes(tunnel.verdict(stun(kSuccess, first))));
  // As many as a gateway has under way at once are there.
  std::vector<TransactionId> newest;
  for (int i = 0; i < 500; ++i) {
    newest.push_back(random.bytes<12>());
    gate->expect_answer(newest.back(), minutes(1));
  }
  for (const TransactionId& id : newest) REQUIRE(tunnel.verdict(stun(kSuccess, id)) == GateVerdict::kStun);
}

TEST_CASE("gateway gate: relay frames pass from a relay that we have a leg at", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  const Family family = GENERATE(Family::kV4, Family::kV6);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, family);
  const std::vector<ByteBuffer> frames{relay_frame(0, 15), relay_frame(0, 1400), relay_frame(2, 46), relay_frame(4, 39),
                                       relay_frame(7, 31)};
  const SocketAddress relay = tunnel.sender_address();
  for (const ByteBuffer& frame : frames) CHECK(tunnel.verdict(frame) == GateVerdict::kBadRelay);
  // Neither another port of that host nor a knock over DNS opens it.
  gate->expect_relay({relay.ip, static_cast<std::uint16_t>(relay.port ^ 1)}, minutes(1));
  gate->expect_dns(relay, minutes(1));
  for (const ByteBuffer& frame : frames) CHECK(tunnel.verdict(frame) == GateVerdict::kBadRelay);
  gate->expect_relay(relay, minutes(1));
  for (const ByteBuffer& frame : frames) CHECK(tunnel.verdict(frame) == GateVerdict::kRelay);
  CHECK(tunnel.verdict(relay_frame(1, 100)) == GateVerdict::kBadRelay);
  tunnel.use_other_port();
  for (const ByteBuffer& frame : frames) CHECK(tunnel.verdict(frame) == GateVerdict::kBadRelay);
}

TEST_CASE("gateway gate: a DNS answer passes from where a knock went", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, GENERATE(Family::kV4, Family::kV6));
  // A relay of ours is no DNS server.
  gate->expect_relay(tunnel.sender_address(), minutes(1));
  for (int first = 0; first < 256; ++first) {
    CHECK_FALSE(passes(tunnel.verdict(dns_answer(static_cast<std::uint8_t>(first)))));
  }
  gate->expect_dns(tunnel.sender_address(), minutes(1));
  for (int first = 0; first < 256; ++first) {
    CAPTURE(first);
    CHECK(tunnel.verdict(dns_answer(static_cast<std::uint8_t>(first))) == GateVerdict::kDnsAnswer);
  }
  ByteBuffer question = dns_answer(7);
  question[2] &= 0x7f;
  CHECK_FALSE(passes(tunnel.verdict(question)));
  CHECK_FALSE(passes(tunnel.verdict(ByteView(dns_answer(7)).first(11))));
  tunnel.use_other_port();
  CHECK_FALSE(passes(tunnel.verdict(dns_answer(7))));
}

// With everything open that a working gateway has open for its own.
TEST_CASE("gateway gate: of strangers' garbage nothing reaches the socket", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  give_stun_key(*gate, site.random);
  const ConnectionIdKey ids(site.random);
  const std::array<const ConnectionIdKey*, 1> id_keys{&ids};
  gate->set_connection_id_keys(id_keys);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, GENERATE(Family::kV4, Family::kV6));
  gate->expect_relay(tunnel.sender_address(), minutes(1));
  gate->expect_dns(tunnel.sender_address(), minutes(1));
  gate->expect_answer(site.random.bytes<12>(), minutes(1));
  tunnel.use_other_port();  // a stranger's

  const KernelGateStats before = gate->stats();
  constexpr int kEach = 300;
  for (int i = 0; i < kEach; ++i) {
    const TransactionId id = site.random.bytes<12>();
    for (const std::uint16_t type : {kRequest, kSuccess, kError}) (void)tunnel.verdict(stun(type, id));
    ByteBuffer initial = site.initial();
    site.random.fill(std::span(initial).subspan(25, 64));
    (void)tunnel.verdict(initial);
    ByteBuffer packet(60);
    site.random.fill(packet);
    packet[0] = static_cast<std::uint8_t>(0x40 | (packet[0] & 0x3f));
    (void)tunnel.verdict(packet);
    packet[0] |= 0xc0;
    packet[5] = 16;
    (void)tunnel.verdict(packet);
    (void)tunnel.verdict(relay_frame(0, 15 + static_cast<std::size_t>(i)));
    (void)tunnel.verdict(relay_frame(2, 46));
    (void)tunnel.verdict(dns_answer(static_cast<std::uint8_t>(i & 0xff)));
  }
  const KernelGateStats after = gate->stats();
  std::uint64_t passed = 0;
  for (std::size_t i = 0; i < after.packets.size(); ++i) {
    if (passes(static_cast<GateVerdict>(i))) passed += after.packets[i] - before.packets[i];
  }
  CHECK(passed == 0);
  CHECK(all_packets(after) - all_packets(before) == 9 * kEach);
  CHECK(after.count(GateVerdict::kUnknownHint) - before.count(GateVerdict::kUnknownHint) == kEach);
  CHECK(after.count(GateVerdict::kForeignId) - before.count(GateVerdict::kForeignId) >= 2 * kEach);
  CHECK(after.count(GateVerdict::kBadRelay) - before.count(GateVerdict::kBadRelay) >= 2 * kEach);
  CHECK(after.count(GateVerdict::kBadStunTag) - before.count(GateVerdict::kBadStunTag) >= 3 * kEach);
  CHECK_FALSE(tunnel.receive(20));
}

TEST_CASE("gateway gate: a broker's sockets take no answers", "[gate]") {
  const auto gate = make_gate({.max_awaited = 0});
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  const Secret<16> own = give_stun_key(*gate, random);
  for (const GateSocket kind : {GateSocket::kBrokerUdp, GateSocket::kBrokerDns}) {
    GatedUdp broker(*gate, kind);
    const TransactionId id = tagged(own, random);
    gate->expect_answer(id, minutes(1));
    gate->expect_dns(broker.sender_address(), minutes(1));
    CHECK(broker.verdict(stun(kRequest, id)) == GateVerdict::kStun);
    CHECK_FALSE(passes(broker.verdict(stun(kSuccess, id))));
    CHECK_FALSE(passes(broker.verdict(dns_answer(7))));
  }
}
