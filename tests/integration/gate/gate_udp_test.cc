// SPDX-License-Identifier: Apache-2.0
// What the kernel gate says to datagrams, over real loopback sockets.
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/siphash.h>

#include "tests/integration/gate/gate_fixture.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;

namespace {

constexpr std::array kUdpKinds{GateSocket::kBrokerUdp, GateSocket::kBrokerDns, GateSocket::kTunnelUdp};

ByteBuffer random_datagram(Random& random, std::size_t size) {
  ByteBuffer bytes(size);
  random.fill(bytes);
  return bytes;
}

// A STUN header and nothing else, under `key`.
ByteBuffer stun_message(const Secret<16>& key, Random& random) {
  ByteBuffer bytes{0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42};
  const auto nonce = random.bytes<4>();
  bytes.insert(bytes.end(), nonce.begin(), nonce.end());
  std::uint64_t tag = siphash24(key.view(), nonce);
  for (int i = 0; i < 8; ++i, tag >>= 8) bytes.push_back(static_cast<std::uint8_t>(tag & 0xff));
  return bytes;
}

ByteBuffer relay_frame(std::uint8_t kind, std::size_t size) {
  ByteBuffer bytes(size, 0x5a);
  bytes[0] = 0x0c;
  bytes[1] = kind;
  return bytes;
}

ByteBuffer short_header(const ConnectionIdBytes& id) {
  ByteBuffer bytes(60, 0x77);
  bytes[0] = 0x43;
  std::copy(id.begin(), id.end(), bytes.begin() + 1);
  return bytes;
}

ByteBuffer handshake_packet(const ConnectionIdBytes& id) {
  ByteBuffer bytes{0xe3, 0, 0, 0, 1, 16};
  bytes.insert(bytes.end(), id.begin(), id.end());
  bytes.resize(200, 0x11);
  return bytes;
}

// All bits but those whose change leaves another valid thing: `free` octets from `from` on are not looked at.
void check_flips(GatedUdp& udp, const ByteBuffer& good, std::size_t from, std::size_t to, bool pass) {
  for (std::size_t bit = from * 8; bit < to * 8; ++bit) {
    ByteBuffer bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    CAPTURE(bit);
    REQUIRE(passes(udp.verdict(bad)) == pass);
  }
}

}  // namespace

TEST_CASE("kernel gate: knocks of a known device pass over IPv4 and IPv6", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  for (const Family family : {Family::kV4, Family::kV6}) {
    GatedUdp main(*gate, GateSocket::kBrokerUdp, family);
    GatedUdp dns(*gate, GateSocket::kBrokerDns, family);
    GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, family);
    for (int i = 0; i < 20; ++i) {
      CHECK(main.verdict(site.udp_knock()) == GateVerdict::kKnock);
      CHECK(dns.verdict(site.dns_knock()) == GateVerdict::kKnock);
      CHECK(tunnel.verdict(site.udp_knock()) == GateVerdict::kKnock);
      CHECK(tunnel.verdict(site.initial()) == GateVerdict::kInitial);
    }
  }
}

TEST_CASE("kernel gate: what user space would open passes and what it would not does not", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const ByteBuffer good = site.udp_knock();

  check_flips(udp, good, 0, 93, false);
  CHECK(udp.verdict(good) == GateVerdict::kKnock);
  // What follows the frame is not looked at: copies.
  check_flips(udp, good, 93, good.size(), false);
  CHECK(gate->stats().count(GateVerdict::kKnock) == 1);
}

TEST_CASE("kernel gate: a DNS knock in any case passes, with any digit changed it does not", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerDns);
  for (int i = 0; i < 50; ++i) {
    ByteBuffer mixed = site.dns_knock();
    for (std::size_t at = 13; at < 119; ++at) {
      const bool letter = mixed[at] >= 'a' && mixed[at] <= 'v';
      if (letter && (site.random.next_u64() & 1) != 0) mixed[at] = static_cast<std::uint8_t>(mixed[at] - 'a' + 'A');
    }
    CHECK(udp.verdict(mixed) == GateVerdict::kKnock);
  }
  const ByteBuffer good = site.dns_knock();
  for (std::size_t at = 13; at < 119; ++at) {
    if (at == 39 || at == 66 || at == 93 || at == 118) continue;  // lengths; the last digit's low bits are not the frame's
    ByteBuffer bad = good;
    bad[at] = bad[at] == 'a' ? 'b' : 'a';
    CAPTURE(at);
    CHECK_FALSE(passes(udp.verdict(bad)));
  }
  check_flips(udp, good, 4, 13, false);
  CHECK(udp.verdict(good) == GateVerdict::kKnock);
  for (int bit = 0; bit < 16; ++bit) {
    ByteBuffer flags = site.dns_knock();
    store_be(flags.data() + 2, static_cast<std::uint16_t>(1 << bit));
    CHECK(passes(udp.verdict(flags)) == parse_dns_carrier(flags, site.dns_suffix).has_value());
  }
}

TEST_CASE("kernel gate: random, empty and truncated datagrams of any size are dropped", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Secret<16> key(site.random.bytes<16>());
  gate->set_stun_keys({&key, 1});
  const ConnectionIdKey ids(site.random);
  const std::array<const ConnectionIdKey*, 1> id_keys{&ids};
  gate->set_connection_id_keys(id_keys);
  for (const GateSocket kind : kUdpKinds) {
    GatedUdp udp(*gate, kind);
    for (std::size_t size = 0; size < 1500; size += 1 + size / 40) {
      ByteBuffer bytes = random_datagram(site.random, size);
      if (size > 0 && bytes[0] == 0x0c) bytes[0] = 0xff;  // relay frames are the next test's
      CAPTURE(kind, size);
      CHECK_FALSE(passes(udp.verdict(bytes)));
      for (const int first : {0x00, 0x16, 0x40, 0xc0, 0xd0, 0xe0, 0xff}) {
        if (size == 0) continue;
        bytes[0] = static_cast<std::uint8_t>(first);
        CHECK_FALSE(passes(udp.verdict(bytes)));
      }
    }
  }
  GatedUdp main(*gate, GateSocket::kBrokerUdp);
  GatedUdp dns(*gate, GateSocket::kBrokerDns);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  const ByteBuffer knock = site.udp_knock();
  for (std::size_t size = 0; size < knock.size(); ++size) CHECK_FALSE(passes(main.verdict(ByteView(knock).first(size))));
  const ByteBuffer query = site.dns_knock();
  for (std::size_t size = 0; size < 135; ++size) CHECK_FALSE(passes(dns.verdict(ByteView(query).first(size))));
  const ByteBuffer initial = site.initial();
  for (std::size_t size = 0; size < 1200; size += 7) CHECK_FALSE(passes(tunnel.verdict(ByteView(initial).first(size))));
}

TEST_CASE("kernel gate: a knock on another carrier's socket is dropped", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp main(*gate, GateSocket::kBrokerUdp);
  GatedUdp dns(*gate, GateSocket::kBrokerDns);
  CHECK(main.verdict(site.dns_knock()) == GateVerdict::kNoShape);
  CHECK(main.verdict(site.initial()) == GateVerdict::kNoShape);
  CHECK(dns.verdict(site.udp_knock()) == GateVerdict::kNoShape);
  // The frame of one carrier in the shape of another: P covers the transport.
  const Frame token = site.alice_knocker->make_quic_token(site.wall, site.alice_knocker->next_knock_id(),
                                                          ByteBuffer(8, 1), ByteBuffer(8, 2));
  CHECK(main.verdict(make_udp_carrier(token)) == GateVerdict::kBadPrefilter);
  CHECK(dns.verdict(make_dns_carrier(token, site.dns_suffix, site.random)) == GateVerdict::kBadPrefilter);
}

TEST_CASE("kernel gate: a copy of a frame is dropped wherever it comes from", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp main(*gate, GateSocket::kBrokerUdp);
  GatedUdp dns(*gate, GateSocket::kBrokerDns);
  const ByteBuffer knock = site.udp_knock();
  const ByteBuffer query = site.dns_knock();
  CHECK(main.verdict(knock) == GateVerdict::kKnock);
  CHECK(dns.verdict(query) == GateVerdict::kKnock);
  for (int i = 0; i < 100; ++i) {
    CHECK(main.verdict(knock) == GateVerdict::kCopy);
    CHECK(dns.verdict(query) == GateVerdict::kCopy);
    main.use_other_port();
    dns.use_other_port();
  }
}

TEST_CASE("kernel gate: retransmitted Initials pass, a flood of one does not", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  const ByteBuffer initial = site.initial();
  int passed = 0;
  for (int i = 0; i < 100; ++i) passed += passes(tunnel.verdict(initial)) ? 1 : 0;
  CHECK(passed == 16);
  // A thief's copies do not use up what the client has.
  tunnel.use_other_port();
  CHECK(tunnel.verdict(initial) == GateVerdict::kInitial);
}

TEST_CASE("kernel gate: Initials with connection ids of every size pass", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  for (std::size_t dcid = 0; dcid <= 21; ++dcid) {
    for (std::size_t scid = 0; scid <= 21; ++scid) {
      const ByteBuffer d(dcid, 0x21);
      const ByteBuffer s(scid, 0x42);
      const bool fits = dcid >= 8 && dcid <= 20 && scid <= 20;
      CAPTURE(dcid, scid);
      // Otherwise lengths that lie about what follows: octets that no length may be.
      ByteBuffer packet = fits ? site.initial(d, s) : site.initial(ByteBuffer(8, 0x21), ByteBuffer(8, 0x42));
      if (!fits) {
        packet[5] = static_cast<std::uint8_t>(dcid);
        if (dcid == 8) packet[14] = static_cast<std::uint8_t>(scid);
      }
      CHECK(passes(tunnel.verdict(packet)) == fits);
    }
  }
}

TEST_CASE("kernel gate: no version but 1 and 2, and no other packet type, is an Initial", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  const ByteBuffer good = site.initial();
  for (int bit = 0; bit < 32; ++bit) {
    ByteBuffer bad = good;
    bad[static_cast<std::size_t>(1 + bit / 8)] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    CHECK(tunnel.verdict(bad) == GateVerdict::kForeignId);
  }
  for (int first = 0xc0; first < 0x100; first += 0x10) {
    ByteBuffer packet = good;
    packet[0] = static_cast<std::uint8_t>(first);
    CHECK(passes(tunnel.verdict(packet)) == (first == 0xc0));
    store_be(packet.data() + 1, kQuicVersion2);
    CHECK(passes(tunnel.verdict(packet)) == (first == 0xd0));
  }
  for (std::size_t at = 6 + 8 + 1 + 8; at < 6 + 8 + 1 + 8 + 2 + 64; ++at) {
    ByteBuffer bad = good;
    bad[at] ^= 0x01;
    CAPTURE(at);
    CHECK_FALSE(passes(tunnel.verdict(bad)));
  }
}

TEST_CASE("kernel gate: connection ids of ours pass in short and long headers, others do not", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  const ConnectionIdKey old_key(random);
  const ConnectionIdKey new_key(random);
  const ConnectionIdKey foreign(random);
  const std::array<const ConnectionIdKey*, 2> keys{&new_key, &old_key};
  gate->set_connection_id_keys(keys);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, GENERATE(Family::kV4, Family::kV6));
  for (int i = 0; i < 100; ++i) {
    CHECK(tunnel.verdict(short_header(new_key.make(random))) == GateVerdict::kConnectionId);
    CHECK(tunnel.verdict(handshake_packet(old_key.make(random))) == GateVerdict::kConnectionId);
    CHECK(tunnel.verdict(short_header(foreign.make(random))) == GateVerdict::kForeignId);
    CHECK(tunnel.verdict(handshake_packet(foreign.make(random))) == GateVerdict::kForeignId);
  }
  check_flips(tunnel, short_header(new_key.make(random)), 1, 17, false);
  ByteBuffer no_fixed_bit = short_header(new_key.make(random));
  no_fixed_bit[0] = 0x83;
  CHECK(tunnel.verdict(no_fixed_bit) == GateVerdict::kNoShape);
  gate->set_connection_id_keys({});
  CHECK(tunnel.verdict(short_header(new_key.make(random))) == GateVerdict::kForeignId);
}

TEST_CASE("kernel gate: STUN passes under each of the keys and no other", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  SeededRandom random(test_seed());
  std::vector<Secret<16>> keys;
  for (std::size_t i = 0; i < KernelGate::kMaxStunKeys; ++i) keys.emplace_back(random.bytes<16>());
  gate->set_stun_keys(keys);
  const Secret<16> foreign(random.bytes<16>());
  for (const GateSocket kind : kUdpKinds) {
    GatedUdp udp(*gate, kind);
    for (const auto& key : keys) CHECK(udp.verdict(stun_message(key, random)) == GateVerdict::kStun);
    CHECK(udp.verdict(stun_message(foreign, random)) == GateVerdict::kBadStunTag);
    const ByteBuffer good = stun_message(keys[0], random);
    check_flips(udp, good, 8, 20, false);
    ByteBuffer odd = good;
    odd.push_back(0);
    CHECK_FALSE(passes(udp.verdict(odd)));
  }
  gate->set_stun_keys(std::span(keys).first(1));
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  CHECK(udp.verdict(stun_message(keys[1], random)) == GateVerdict::kBadStunTag);
  keys.push_back(foreign);
  gate->set_stun_keys(keys);  // one too many: user space decides
  CHECK(passes(udp.verdict(stun_message(foreign, random))));
}

TEST_CASE("kernel gate: relay frames pass in the sizes and directions of their kinds", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedUdp broker(*gate, GateSocket::kBrokerUdp);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp);
  gate->expect_relay(tunnel.sender_address(), std::chrono::minutes(1));
  for (int kind = 0; kind < 16; ++kind) {
    for (const std::size_t size : {14u, 15u, 30u, 31u, 32u, 38u, 39u, 40u, 45u, 46u, 47u, 48u, 366u, 367u, 1400u}) {
      const ByteBuffer frame = relay_frame(static_cast<std::uint8_t>(kind), size);
      const bool data = kind == 0 && size > 14;
      const bool bind = kind == 1 && size > 46 && size <= 366;
      const bool from_leg = size == 46 && (kind == 3 || kind == 5 || kind == 6);
      const bool from_relay = (kind == 2 && size == 46) || (kind == 4 && size == 39) || (kind == 7 && size == 31);
      CAPTURE(kind, size);
      CHECK(passes(broker.verdict(frame)) == (data || bind || from_leg));
      CHECK(passes(tunnel.verdict(frame)) == (data || from_relay));
    }
  }
}

TEST_CASE("kernel gate: a reassembled packet is judged whole", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  REQUIRE(run("ip link set lo mtu 1280"));  // the least that IPv6 takes
  GatedSite site(*gate);
  GatedUdp tunnel(*gate, GateSocket::kTunnelUdp, GENERATE(Family::kV4, Family::kV6));
  ByteBuffer initial = site.initial();
  initial.resize(2000, 0xee);
  CHECK(tunnel.verdict(initial) == GateVerdict::kInitial);
  initial = site.initial();
  initial.resize(2000, 0xee);
  initial[60] ^= 1;
  CHECK(tunnel.verdict(initial) == GateVerdict::kBadPrefilter);
}

TEST_CASE("kernel gate: of a train the first datagram is judged, by its own size", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const ByteBuffer knock = site.udp_knock();
  ByteBuffer train = knock;
  train.insert(train.end(), knock.size(), 0x99);
  udp.send_train(train, static_cast<std::uint16_t>(knock.size()));
  const auto whole = udp.receive(1000);
  REQUIRE(whole);
  CHECK(whole->size() == train.size());  // one skb: what is behind the first is user space's to refuse
  std::rotate(train.begin(), train.begin() + static_cast<std::ptrdiff_t>(knock.size()), train.end());
  udp.send_train(train, static_cast<std::uint16_t>(knock.size()));
  CHECK_FALSE(udp.receive(50));
}
