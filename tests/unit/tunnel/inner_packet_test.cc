// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tunnel/flow_table.h>
#include <natt/tunnel/inner_packet.h>

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::tunnel;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

ByteBuffer ipv4(const char* source, const char* destination, std::uint8_t protocol, const ByteBuffer& payload) {
  ByteBuffer bytes{0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0};
  store_be(bytes.data() + 2, static_cast<std::uint16_t>(20 + payload.size()));
  for (const char* const address : {source, destination}) {
    const auto octets = ip(address).v4_octets();
    bytes.insert(bytes.end(), octets.begin(), octets.end());
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

ByteBuffer ipv6(const char* source, const char* destination, std::uint8_t protocol, const ByteBuffer& payload) {
  ByteBuffer bytes{0x60, 0, 0, 0, 0, 0, protocol, 64};
  store_be(bytes.data() + 4, static_cast<std::uint16_t>(payload.size()));
  for (const char* const address : {source, destination}) {
    const auto octets = ip(address).octets();
    bytes.insert(bytes.end(), octets.begin(), octets.end());
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

ByteBuffer tcp(std::uint16_t from, std::uint16_t to, std::uint8_t flags, std::size_t data = 0) {
  ByteBuffer bytes(20 + data);
  store_be(bytes.data(), from);
  store_be(bytes.data() + 2, to);
  bytes[12] = 0x50;
  bytes[13] = flags;
  return bytes;
}

ByteBuffer udp(std::uint16_t from, std::uint16_t to, std::size_t data = 4) {
  ByteBuffer bytes(8 + data);
  store_be(bytes.data(), from);
  store_be(bytes.data() + 2, to);
  store_be(bytes.data() + 4, static_cast<std::uint16_t>(bytes.size()));
  return bytes;
}

ByteBuffer icmp(std::uint8_t type, std::uint16_t id, const ByteBuffer& rest = {}) {
  ByteBuffer bytes{type, 0, 0, 0, 0, 0, 0, 0};
  store_be(bytes.data() + 4, id);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint8_t kFin = 0x01;

InnerPacket parsed(const ByteBuffer& bytes) {
  const auto packet = InnerPacket::parse(bytes);
  REQUIRE(packet);
  return *packet;
}

InnerPacket out_tcp(std::uint8_t flags) { return parsed(ipv4("10.200.0.2", "10.99.0.5", 6, tcp(40000, 22, flags))); }
InnerPacket in_tcp(std::uint8_t flags) { return parsed(ipv4("10.99.0.5", "10.200.0.2", 6, tcp(22, 40000, flags))); }

}  // namespace

TEST_CASE("inner packet: addresses, ports and flags are read from IPv4 and IPv6", "[tunnel][ip]") {
  const InnerPacket v4 = parsed(ipv4("10.200.0.2", "10.99.0.5", 6, tcp(40000, 22, kSyn, 10)));
  CHECK(v4.flow == FlowKey{IpProtocol::kTcp, ip("10.200.0.2"), ip("10.99.0.5"), 40000, 22});
  CHECK(v4.has(TcpFlags::kSyn));
  CHECK_FALSE(v4.has(TcpFlags::kAck));

  const InnerPacket v6 = parsed(ipv6("2001:db8::2", "2001:db8:99::5", 17, udp(5353, 53)));
  CHECK(v6.flow == FlowKey{IpProtocol::kUdp, ip("2001:db8::2"), ip("2001:db8:99::5"), 5353, 53});
  CHECK(v6.flow.reversed().reversed() == v6.flow);

  CHECK(parsed(ipv4("10.0.0.1", "10.0.0.2", 1, icmp(8, 77))).flow.source_port == 77);
  CHECK(parsed(ipv6("2001:db8::1", "2001:db8::2", 58, icmp(128, 78))).flow.destination_port == 78);
}

TEST_CASE("inner packet: no truncation and no trailing octet is accepted", "[tunnel][ip]") {
  const auto whole = GENERATE(ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 2, kSyn)), ipv4("10.0.0.1", "10.0.0.2", 17, udp(1, 2)),
                              ipv4("10.0.0.1", "10.0.0.2", 1, icmp(8, 1)), ipv6("2001:db8::1", "2001:db8::2", 6, tcp(1, 2, kSyn)),
                              ipv6("2001:db8::1", "2001:db8::2", 17, udp(1, 2)),
                              ipv6("2001:db8::1", "2001:db8::2", 58, icmp(128, 1)));
  REQUIRE(InnerPacket::parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(InnerPacket::parse(ByteView{whole}.first(size)));
  }
  ByteBuffer longer = whole;
  longer.push_back(0);
  CHECK_FALSE(InnerPacket::parse(longer));
}

TEST_CASE("inner packet: what the policy cannot judge is refused", "[tunnel][ip]") {
  const ByteBuffer good4 = ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 2, kSyn));
  const ByteBuffer good6 = ipv6("2001:db8::1", "2001:db8::2", 6, tcp(1, 2, kSyn));
  const auto change = [](ByteBuffer bytes, std::size_t at, std::uint8_t value) {
    bytes[at] = value;
    return bytes;
  };
  const auto [name, bytes] = GENERATE_COPY(table<std::string, ByteBuffer>({
      {"version 0", change(good4, 0, 0x05)},
      {"version 5", change(good4, 0, 0x55)},
      {"IPv4 options", change(good4, 0, 0x46)},
      {"header length 4", change(good4, 0, 0x44)},
      {"total length one short", change(good4, 3, 39)},
      {"total length one long", change(good4, 3, 41)},
      {"more fragments", change(good4, 6, 0x20)},
      {"reserved bit", change(good4, 6, 0x80)},
      {"fragment offset", change(good4, 7, 1)},
      {"GRE", change(good4, 9, 47)},
      {"ESP", change(good4, 9, 50)},
      {"IPv4 in IPv4", change(good4, 9, 4)},
      {"ICMPv6 in IPv4", ipv4("10.0.0.1", "10.0.0.2", 58, icmp(128, 1))},
      {"TCP offset 4", change(good4, 32, 0x40)},
      {"TCP offset beyond the end", change(good4, 32, 0x60)},
      {"UDP length one short", change(ipv4("10.0.0.1", "10.0.0.2", 17, udp(1, 2)), 25, 11)},
      {"UDP length one long", change(ipv4("10.0.0.1", "10.0.0.2", 17, udp(1, 2)), 25, 13)},
      {"ICMP redirect", ipv4("10.0.0.1", "10.0.0.2", 1, icmp(5, 1, good4))},
      {"ICMP timestamp", ipv4("10.0.0.1", "10.0.0.2", 1, icmp(13, 1))},
      {"ICMP error that quotes nothing", ipv4("10.0.0.1", "10.0.0.2", 1, icmp(3, 0))},
      {"IPv6 payload one short", change(good6, 5, 19)},
      {"IPv6 payload one long", change(good6, 5, 21)},
      {"hop-by-hop", change(good6, 6, 0)},
      {"routing header", change(good6, 6, 43)},
      {"fragment header", change(good6, 6, 44)},
      {"destination options", change(good6, 6, 60)},
      {"ICMP in IPv6", ipv6("2001:db8::1", "2001:db8::2", 1, icmp(8, 1))},
      {"neighbour advertisement", ipv6("2001:db8::1", "2001:db8::2", 58, icmp(136, 1))},
      {"v4-mapped source", ipv6("::ffff:10.0.0.1", "2001:db8::2", 6, tcp(1, 2, kSyn))},
  }));
  CAPTURE(name);
  CHECK_FALSE(InnerPacket::parse(bytes));
}

TEST_CASE("inner packet: an ICMP error names the flow it quotes", "[tunnel][ip]") {
  ByteBuffer quoted = ipv4("10.200.0.2", "10.99.0.5", 17, udp(40000, 53, 100));
  quoted.resize(28);  // header and 64 bits, as RFC 792 quotes
  const InnerPacket error = parsed(ipv4("10.99.0.1", "10.200.0.2", 1, icmp(3, 0, quoted)));
  REQUIRE(error.quoted);
  CHECK(*error.quoted == FlowKey{IpProtocol::kUdp, ip("10.200.0.2"), ip("10.99.0.5"), 40000, 53});
  quoted.pop_back();
  CHECK_FALSE(InnerPacket::parse(ipv4("10.99.0.1", "10.200.0.2", 1, icmp(3, 0, quoted))));
}

TEST_CASE("flow table: only answers to what the client sent come back", "[tunnel][ip]") {
  FlowTable table(1);
  const Instant now{std::chrono::seconds(100)};
  CHECK_FALSE(table.allows_return(now, in_tcp(kSyn | kAck)));
  table.note_outgoing(now, out_tcp(kSyn));
  CHECK(table.knows(now, out_tcp(kSyn)));

  CHECK(table.allows_return(now, in_tcp(kSyn | kAck)));
  CHECK_FALSE(table.allows_return(now, in_tcp(kSyn)));  // a connection from outside
  CHECK_FALSE(table.allows_return(now, parsed(ipv4("10.99.0.5", "10.200.0.2", 6, tcp(23, 40000, kAck)))));
  CHECK_FALSE(table.allows_return(now, parsed(ipv4("10.99.0.6", "10.200.0.2", 6, tcp(22, 40000, kAck)))));
  CHECK_FALSE(table.allows_return(now, parsed(ipv4("10.99.0.5", "10.200.0.2", 17, udp(22, 40000)))));
}

TEST_CASE("flow table: each kind of flow times out at its own time", "[tunnel][ip]") {
  FlowTable table(1);
  const Instant start{std::chrono::seconds(100)};
  const InnerPacket dns = parsed(ipv4("10.200.0.2", "10.99.0.5", 17, udp(40000, 53)));
  const InnerPacket dns_answer = parsed(ipv4("10.99.0.5", "10.200.0.2", 17, udp(53, 40000)));
  const InnerPacket ping = parsed(ipv4("10.200.0.2", "10.99.0.5", 1, icmp(8, 7)));
  const InnerPacket pong = parsed(ipv4("10.99.0.5", "10.200.0.2", 1, icmp(0, 7)));
  table.note_outgoing(start, dns);
  table.note_outgoing(start, ping);
  table.note_outgoing(start, out_tcp(kSyn));

  CHECK(table.allows_return(start + 59s, pong));
  CHECK_FALSE(table.allows_return(start + 59s, ping.flow == pong.flow ? pong : parsed(ipv4("10.99.0.5", "10.200.0.2", 1, icmp(8, 7)))));
  CHECK_FALSE(table.allows_return(start + 59s + 60s, pong));
  CHECK_FALSE(table.allows_return(start + 4min, in_tcp(kSyn | kAck)));
  CHECK_FALSE(table.allows_return(start + 5min, dns_answer));

  table.note_outgoing(start + 10min, out_tcp(kSyn));
  CHECK(table.allows_return(start + 10min, in_tcp(kSyn | kAck)));
  table.note_outgoing(start + 10min, out_tcp(kAck));
  CHECK(table.allows_return(start + 10min + 123min, in_tcp(kAck)));
  CHECK(table.allows_return(start + 10min + 123min, in_tcp(kAck | kFin)));
  CHECK_FALSE(table.allows_return(start + 10min + 128min, in_tcp(kAck)));
}

TEST_CASE("flow table: when full it forgets the flow that was silent for longest", "[tunnel][ip]") {
  FlowTable table(1, 3);
  Instant now{std::chrono::seconds(100)};
  const auto out = [](std::uint16_t port) { return parsed(ipv4("10.200.0.2", "10.99.0.5", 17, udp(port, 53))); };
  for (const std::uint16_t port : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}}) table.note_outgoing(now += 1s, out(port));
  table.note_outgoing(now += 1s, out(1));
  table.note_outgoing(now += 1s, out(4));
  CHECK(table.size() == 3);
  CHECK(table.knows(now, out(1)));
  CHECK_FALSE(table.knows(now, out(2)));
  table.clear();
  CHECK(table.size() == 0);
  CHECK_FALSE(table.knows(now, out(1)));
}

TEST_CASE("flow table: an ICMP error passes when it quotes a flow of the same client", "[tunnel][ip]") {
  FlowTable table(1);
  const Instant now{std::chrono::seconds(100)};
  const ByteBuffer sent = ipv4("10.200.0.2", "10.99.0.5", 17, udp(40000, 53));
  table.note_outgoing(now, parsed(sent));
  CHECK(table.allows_return(now, parsed(ipv4("10.99.0.1", "10.200.0.2", 1, icmp(3, 0, sent)))));
  CHECK_FALSE(table.allows_return(now, parsed(ipv4("10.99.0.1", "10.200.0.3", 1, icmp(3, 0, sent)))));
  const ByteBuffer never = ipv4("10.200.0.2", "10.99.0.5", 17, udp(40001, 53));
  CHECK_FALSE(table.allows_return(now, parsed(ipv4("10.99.0.1", "10.200.0.2", 1, icmp(3, 0, never)))));
}

TEST_CASE("flow table: an ICMP error of the client is never a packet of a flow it has open", "[tunnel][ip]") {
  FlowTable table(1);
  const Instant now{std::chrono::seconds(100)};
  const InnerPacket echo = parsed(ipv4("10.200.0.2", "10.99.0.5", 1, icmp(8, 0)));
  table.note_outgoing(now, echo);
  CHECK(table.knows(now, echo));
  CHECK_FALSE(table.knows(now, parsed(ipv4("10.200.0.2", "10.99.0.5", 1, icmp(0, 0)))));
  const ByteBuffer anything = ipv4("10.99.0.5", "10.200.0.2", 17, udp(53, 40000));
  CHECK_FALSE(table.knows(now, parsed(ipv4("10.200.0.2", "10.99.0.5", 1, icmp(3, 0, anything)))));
  const InnerPacket echo6 = parsed(ipv6("2001:db8::2", "2001:db8:99::5", 58, icmp(128, 0)));
  table.note_outgoing(now, echo6);
  CHECK(table.knows(now, echo6));
  CHECK_FALSE(table.knows(now, parsed(ipv6("2001:db8::2", "2001:db8:99::5", 58, icmp(129, 0)))));
}
