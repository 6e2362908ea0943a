// SPDX-License-Identifier: Apache-2.0
// The gate against the parsers of user space, with changed copies of good packets: what user
// space takes for a frame passes, what it refuses never makes the frame itself a copy.
#include <catch2/catch_test_macros.hpp>

#include <natt/spa/quic_initial.h>

#include "tests/integration/gate/gate_fixture.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;

namespace {

constexpr int kTries = 2000;

std::size_t below(Random& random, std::size_t limit) { return static_cast<std::size_t>(random.next_u64() % limit); }

// One to three changes: a bit, an octet, a digit's look-alike, case, lengths, octets put in or taken out, another tail.
void change_once(ByteBuffer& packet, Random& random) {
  const std::size_t at = below(random, packet.size());
  const auto octet = static_cast<std::uint8_t>(random.next_u64());
  switch (below(random, 8)) {
    case 0: packet[at] ^= static_cast<std::uint8_t>(1u << (octet & 7)); break;
    case 1: packet[at] = octet; break;
    case 2: packet[at] ^= 0x20; break;
    case 3: packet[at] = static_cast<std::uint8_t>(packet[at] + (octet & 1 ? 1 : 0xff)); break;
    case 4: packet.insert(packet.begin() + static_cast<std::ptrdiff_t>(at), octet); break;
    case 5:  // never the last one
      if (packet.size() > 1) packet.erase(packet.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 6: packet.resize(packet.size() + 1 + (octet & 31), octet); break;
    default: packet.resize(std::max<std::size_t>(at, 1)); break;
  }
}

// Where no P is: what a thief can change without a key.
void change_tail(ByteBuffer& packet, std::size_t from, Random& random) {
  if (packet.size() <= from) return;
  packet[from + below(random, packet.size() - from)] ^= static_cast<std::uint8_t>(1u << below(random, 8));
}

ByteBuffer changed(ByteBuffer packet, std::size_t tail, Random& random) {
  if (random.next_u64() & 1) {
    change_tail(packet, tail, random);
  } else {
    for (std::size_t i = below(random, 3); i < 3; ++i) change_once(packet, random);
  }
  return packet;
}

// `parse` is user space: the frame, if it is one. Sends a changed copy before the good packet; gives how many of them
// were the frame still, and how many were not.
template <typename Make, typename Parse>
std::pair<int, int> compare(GatedUdp& udp, Random& random, std::size_t tail, Make&& make, Parse&& parse) {
  std::pair<int, int> seen{0, 0};
  for (int i = 0; i < kTries; ++i) {
    const ByteBuffer good = make();
    const ByteBuffer other = changed(good, tail, random);
    const auto frame = parse(other);
    const bool same = frame.has_value() && frame == parse(good);
    ++(same ? seen.first : seen.second);
    CAPTURE(i, good, other);
    REQUIRE(passes(udp.verdict(other)) == same);
    REQUIRE(udp.verdict(good) == (same ? GateVerdict::kCopy : GateVerdict::kKnock));
  }
  return seen;
}

}  // namespace

TEST_CASE("kernel gate: of changed DTLS knocks those pass that user space takes", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const auto [same, refused] = compare(udp, site.random, 93, [&] { return site.udp_knock(); },
                                       [](ByteView packet) { return parse_udp_carrier(packet); });
  CHECK(same > kTries / 10);
  CHECK(refused > kTries / 10);
}

TEST_CASE("kernel gate: of changed DNS knocks those pass that user space takes", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const auto shortest = DnsSuffix::parse("x");
  const auto longest = DnsSuffix::parse("An-example-with-a-name-that-is-as-long-as-it-may-be.knock.T0");
  REQUIRE((shortest && longest && longest->wire().size() == DnsSuffix::kMaxText + 2));
  const std::array<DnsSuffix, 3> suffixes{*shortest, site.dns_suffix, *longest};
  gate->set_dns_suffixes(suffixes);
  GatedUdp udp(*gate, GateSocket::kBrokerDns);
  int turn = 0;
  const auto make = [&] {
    const ByteBuffer knock = site.dns_knock();
    const auto frame = parse_dns_carrier(knock, site.dns_suffix);
    return make_dns_carrier(*frame, suffixes[static_cast<std::size_t>(++turn % 3)], site.random);
  };
  const auto parse = [&](ByteView packet) -> std::optional<Frame> {
    for (const DnsSuffix& suffix : suffixes) {
      if (const auto frame = parse_dns_carrier(packet, suffix)) return frame;
    }
    return std::nullopt;
  };
  const auto [same, refused] = compare(udp, site.random, 119, make, parse);
  CHECK(same > kTries / 10);
  CHECK(refused > kTries / 10);
}

TEST_CASE("kernel gate: of a DNS knock every octet is what user space wants it to be", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerDns);
  const ByteBuffer good = site.dns_knock();
  const auto frame = parse_dns_carrier(good, site.dns_suffix);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int octet = 0; octet < 256; octet += at < 119 ? 1 : 3) {
      ByteBuffer other = good;
      other[at] = static_cast<std::uint8_t>(octet);
      CAPTURE(at, octet);
      const bool same = parse_dns_carrier(other, site.dns_suffix) == frame;
      const GateVerdict verdict = udp.verdict(other);
      // All that are taken are the same frame: the first passes, the others are copies of it.
      REQUIRE((verdict == GateVerdict::kKnock || verdict == GateVerdict::kCopy) == same);
    }
  }
  CHECK(gate->stats().count(GateVerdict::kKnock) == 1);
}

TEST_CASE("kernel gate: options that a forwarder adds leave a DNS knock what it is", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerDns);
  for (std::size_t options = 0; options < 360; ++options) {
    ByteBuffer query = site.dns_knock();
    const std::size_t size = query.size();
    query.resize(size + options, 0x5a);
    const bool fits = query.size() <= 512;
    CAPTURE(options);
    if (options != 0) CHECK(udp.verdict(query) == GateVerdict::kNoShape);  // and the frame is still good
    store_be(query.data() + size - 2, static_cast<std::uint16_t>(options));
    CHECK(udp.verdict(query) == (fits ? GateVerdict::kKnock : GateVerdict::kNoShape));
  }
}

TEST_CASE("kernel gate: without suffixes DNS knocks pass, and so do their copies", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const std::vector<DnsSuffix> many(KernelGate::kMaxDnsSuffixes + 1, site.dns_suffix);
  gate->set_dns_suffixes(many);
  GatedUdp udp(*gate, GateSocket::kBrokerDns);
  const ByteBuffer knock = site.dns_knock();
  CHECK(udp.verdict(knock) == GateVerdict::kKnock);
  CHECK(udp.verdict(knock) == GateVerdict::kKnock);
  ByteBuffer bad = knock;
  bad[100] ^= 1;
  CHECK(udp.verdict(bad) == GateVerdict::kBadPrefilter);
  gate->set_dns_suffixes(std::span(many).first(1));
  CHECK(udp.verdict(knock) == GateVerdict::kKnock);
  CHECK(udp.verdict(knock) == GateVerdict::kCopy);
}

TEST_CASE("kernel gate: of changed Initials those pass that user space takes", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kTunnelUdp);
  int same = 0;
  int refused = 0;
  for (int i = 0; i < kTries; ++i) {
    const std::size_t dcid = 8 + below(site.random, 13);
    const std::size_t scid = below(site.random, 21);
    const ByteBuffer good = site.initial(ByteBuffer(dcid, 0x21), ByteBuffer(scid, 0x42));
    const ByteBuffer other = changed(good, 7 + dcid + scid + 66, site.random);
    const auto token = parse_quic_initial(good)->token;
    const auto parsed = parse_quic_initial(other);
    const bool frame = parsed && std::equal(parsed->token.begin(), parsed->token.end(), token.begin());
    ++(frame ? same : refused);
    CAPTURE(i, good, other);
    REQUIRE(passes(udp.verdict(other)) == frame);
    // A refused one takes nothing from what the client has.
    int passed = frame ? 1 : 0;
    if (i % 50 != 0) continue;
    for (int copy = 0; copy < 20; ++copy) passed += passes(udp.verdict(good)) ? 1 : 0;
    CHECK(passed == 16);
  }
  CHECK(same > kTries / 10);
  CHECK(refused > kTries / 10);
}

TEST_CASE("kernel gate: an Initial's length does not go beyond the datagram, in any form", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kTunnelUdp);
  constexpr std::size_t kLengthAt = 7 + 8 + 8 + 66;
  for (std::size_t form = 0; form < 4; ++form) {
    const std::size_t octets = std::size_t{1} << form;
    const std::uint64_t rest = 1200 - kLengthAt - octets;
    const std::uint64_t large = std::uint64_t{1} << (octets * 8 - 3);
    for (const std::uint64_t length : {std::uint64_t{0}, rest - 1, rest, rest + 1, large}) {
      ByteBuffer packet = site.initial();
      const std::uint64_t number = (length | std::uint64_t{form} << (octets * 8 - 2)) << (64 - octets * 8);
      for (std::size_t i = 0; i < octets; ++i) {
        packet[kLengthAt + i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
      }
      CAPTURE(form, length);
      CHECK(passes(udp.verdict(packet)) == parse_quic_initial(packet).has_value());
    }
  }
}
