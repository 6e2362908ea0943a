// SPDX-License-Identifier: Apache-2.0
// Crafted packets out of a client's tunnel, from bytes to the decision: what the parser of
// libtunnel refuses and what the entitlements refuse are one gate.
#include <natt/tunnel/inner_packet.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/gateway/entitlements.h"

namespace natt::gateway {
namespace {

using Catch::Matchers::ContainsSubstring;

const Identity kAlice{"hq", Role::kClient, "alice"};

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

Entitlements entitlements() {
  Entitlement allowed{"alice", {}};
  for (const std::string_view text :
       {"tcp/10.99.0.0/24:80", "udp/10.99.0.53:53", "icmp/10.99.0.0/24", "tcp/[2001:db8:99::]/48:443",
        "icmp/[2001:db8:99::]/48", "any/10.99.7.7", "tcp/0.0.0.0/0:8080", "tcp/[::]/0:8080"}) {
    allowed.allow.push_back(*parse_rule(text));
  }
  return Entitlements("hq", {allowed},
                      {.own = {ip("10.99.0.1"), ip("10.64.0.1")},
                       .brokers = {ip("198.51.100.10")},
                       .pool = {*IpPrefix::parse("10.64.0.0/24"), *IpPrefix::parse("fd00:64::/64")}});
}

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kIcmpV6 = 58;

// A transport header: 20 octets of TCP, 8 of UDP or ICMP.
ByteBuffer transport(std::uint8_t protocol, std::uint16_t source_port, std::uint16_t destination_port) {
  ByteBuffer bytes;
  ByteWriter writer(bytes);
  if (protocol == kIcmp || protocol == kIcmpV6) {
    bytes = {static_cast<std::uint8_t>(protocol == kIcmp ? 8 : 128), 0, 0, 0, 0, 1, 0, 1};
    return bytes;
  }
  writer.write(source_port);
  writer.write(destination_port);
  if (protocol == kUdp) {
    writer.write<std::uint16_t>(8);
    writer.write<std::uint16_t>(0);
  } else {
    const ByteBuffer rest = {0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0};
    writer.write_bytes(rest);
  }
  return bytes;
}

ByteBuffer packet4(std::string_view source, std::string_view destination, std::uint8_t protocol,
                   const ByteBuffer& payload) {
  ByteBuffer bytes = {0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0};
  store_be<std::uint16_t>(bytes.data() + 2, static_cast<std::uint16_t>(20 + payload.size()));
  for (const std::string_view address : {source, destination}) {
    const auto octets = ip(address).v4_octets();
    bytes.insert(bytes.end(), octets.begin(), octets.end());
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

ByteBuffer packet6(std::string_view source, std::string_view destination, std::uint8_t protocol,
                   const ByteBuffer& payload) {
  ByteBuffer bytes = {0x60, 0, 0, 0, 0, 0, protocol, 64};
  store_be<std::uint16_t>(bytes.data() + 4, static_cast<std::uint16_t>(payload.size()));
  for (const std::string_view address : {source, destination}) {
    const auto octets = ip(address).octets();
    bytes.insert(bytes.end(), octets.begin(), octets.end());
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

// The gateway's whole judgement: the reason of a denial, "malformed", or the rule.
Decision judge(ByteView bytes) {
  const auto packet = tunnel::InnerPacket::parse(bytes);
  if (!packet) return {.allowed = false, .reason = "malformed", .addresses = {}};
  return entitlements().check_packet(kAlice, {ip("10.64.0.2"), ip("fd00:64::2")}, *packet);
}

struct Row {
  std::string_view source;
  std::string_view destination;
  std::uint8_t protocol;
  std::uint16_t port;
  bool allowed;
  std::string_view reason;
};

TEST_CASE("inner packets: IPv4 source, destination, protocol and port decide", "[apps][gateway]") {
  const auto row = GENERATE(values<Row>({
      {"10.64.0.2", "10.99.0.5", kTcp, 80, true, "tcp/10.99.0.0/24:80"},
      {"10.64.0.2", "10.99.0.5", kTcp, 81, false, "no rule"},
      {"10.64.0.2", "10.99.0.5", kUdp, 80, false, "no rule"},
      {"10.64.0.2", "10.99.0.53", kUdp, 53, true, "udp/10.99.0.53:53"},
      {"10.64.0.2", "10.99.0.5", kIcmp, 0, true, "icmp/10.99.0.0/24"},
      {"10.64.0.2", "10.99.1.5", kIcmp, 0, false, "no rule"},
      {"10.64.0.2", "10.99.1.5", kTcp, 80, false, "no rule"},
      {"10.64.0.2", "10.99.7.7", kTcp, 1, true, "any/10.99.7.7"},
      {"10.64.0.2", "10.99.7.7", kUdp, 65535, true, "any/10.99.7.7"},
      {"10.64.0.2", "10.99.7.7", kIcmp, 0, true, "any/10.99.7.7"},
      {"10.64.0.2", "10.99.7.8", kIcmp, 0, false, "no rule"},
      {"10.64.0.2", "10.99.0.5", kTcp, 0, false, "port 0"},
      {"10.64.0.2", "192.0.2.1", kTcp, 8080, true, "tcp/0.0.0.0/0:8080"},
      {"10.64.0.3", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"10.64.0.1", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"10.99.0.6", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"127.0.0.1", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"0.0.0.0", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"255.255.255.255", "10.99.0.5", kTcp, 80, false, "not the client's tunnel address"},
      {"10.64.0.2", "10.64.0.3", kTcp, 8080, false, "client to client"},
      {"10.64.0.2", "10.64.0.2", kTcp, 8080, false, "client to client"},
      {"10.64.0.2", "10.64.0.1", kTcp, 8080, false, "client to client"},
      {"10.64.0.2", "10.64.0.255", kUdp, 8080, false, "client to client"},
      {"10.64.0.2", "10.99.0.1", kTcp, 80, false, "own address"},
      {"10.64.0.2", "10.99.0.1", kIcmp, 0, false, "own address"},
      {"10.64.0.2", "198.51.100.10", kTcp, 8080, false, "a broker"},
      {"10.64.0.2", "127.0.0.1", kTcp, 8080, false, "loopback"},
      {"10.64.0.2", "0.0.0.0", kTcp, 8080, false, "unspecified"},
      {"10.64.0.2", "169.254.169.254", kTcp, 8080, false, "cloud metadata"},
      {"10.64.0.2", "169.254.3.4", kTcp, 8080, false, "link-local"},
      {"10.64.0.2", "224.0.0.251", kUdp, 5353, false, "multicast"},
      {"10.64.0.2", "255.255.255.255", kUdp, 67, false, "broadcast"},
      {"10.64.0.2", "250.1.2.3", kTcp, 8080, false, "reserved"},
  }));
  CAPTURE(row.source, row.destination, static_cast<int>(row.protocol), row.port);

  const Decision decision =
      judge(packet4(row.source, row.destination, row.protocol, transport(row.protocol, 40000, row.port)));

  CHECK(decision.allowed == row.allowed);
  CHECK_THAT(decision.reason, ContainsSubstring(std::string(row.reason)));
}

TEST_CASE("inner packets: IPv6 source, destination, protocol and port decide", "[apps][gateway]") {
  const auto row = GENERATE(values<Row>({
      {"fd00:64::2", "2001:db8:99::5", kTcp, 443, true, "tcp/[2001:db8:99::]/48:443"},
      {"fd00:64::2", "2001:db8:99::5", kIcmpV6, 0, true, "icmp/[2001:db8:99::]/48"},
      {"fd00:64::2", "2001:db8:99::5", kUdp, 443, false, "no rule"},
      {"fd00:64::2", "2001:db8:98::5", kTcp, 443, false, "no rule"},
      {"fd00:64::2", "2001:db8:98::5", kIcmpV6, 0, false, "no rule"},
      {"fd00:64::3", "2001:db8:99::5", kTcp, 443, false, "not the client's tunnel address"},
      {"fe80::2", "2001:db8:99::5", kTcp, 443, false, "not the client's tunnel address"},
      {"::", "2001:db8:99::5", kTcp, 443, false, "not the client's tunnel address"},
      {"::1", "2001:db8:99::5", kTcp, 443, false, "not the client's tunnel address"},
      {"fd00:64::2", "fd00:64::3", kTcp, 8080, false, "client to client"},
      {"fd00:64::2", "::1", kTcp, 8080, false, "loopback"},
      {"fd00:64::2", "fe80::1", kTcp, 8080, false, "link-local"},
      {"fd00:64::2", "ff02::1", kIcmpV6, 0, false, "multicast"},
      {"fd00:64::2", "ff02::fb", kUdp, 5353, false, "multicast"},
      {"fd00:64::2", "64:ff9b::127.0.0.1", kTcp, 8080, false, "loopback"},
      {"fd00:64::2", "64:ff9b::10.99.0.1", kTcp, 80, false, "own address"},
      {"fd00:64::2", "64:ff9b::10.64.0.3", kTcp, 8080, false, "client to client"},
      {"fd00:64::2", "64:ff9b::10.99.0.5", kTcp, 80, true, "tcp/10.99.0.0/24:80"},
      {"fd00:64::2", "2002:a9fe:a9fe::1", kTcp, 8080, false, "cloud metadata"},
      {"fd00:64::2", "fd00:ec2::254", kTcp, 8080, false, "cloud metadata"},
      {"fd00:64::2", "2001:db8:77::1", kTcp, 8080, true, "tcp/[::]/0:8080"},
  }));
  CAPTURE(row.source, row.destination, static_cast<int>(row.protocol), row.port);

  const Decision decision =
      judge(packet6(row.source, row.destination, row.protocol, transport(row.protocol, 40000, row.port)));

  CHECK(decision.allowed == row.allowed);
  CHECK_THAT(decision.reason, ContainsSubstring(std::string(row.reason)));
}

TEST_CASE("inner packets: an allowed packet with one field bent is none any more", "[apps][gateway]") {
  struct Bend {
    std::string_view name;
    std::size_t at;
    std::uint8_t value;
  };
  const auto bend = GENERATE(values<Bend>({
      {"version 5", 0, 0x55},
      {"header length 4", 0, 0x44},
      {"IPv4 options", 0, 0x46},
      {"total length + 1", 3, 41},
      {"total length - 1", 3, 39},
      {"total length 0", 3, 0},
      {"more fragments", 6, 0x20},
      {"fragment offset, high octet", 6, 0x01},
      {"fragment offset, low octet", 7, 0x01},
      {"IP in IP", 9, 4},
      {"IPv6 in IPv4", 9, 41},
      {"GRE", 9, 47},
      {"ESP", 9, 50},
      {"SCTP", 9, 132},
      {"IGMP", 9, 2},
      {"ICMPv6 in IPv4", 9, 58},
      {"TCP header length 4", 32, 0x40},
      {"TCP header beyond the packet", 32, 0x60},
  }));
  CAPTURE(bend.name);
  ByteBuffer packet = packet4("10.64.0.2", "10.99.0.5", kTcp, transport(kTcp, 40000, 80));
  REQUIRE(judge(packet).allowed);

  packet[bend.at] = bend.value;

  CHECK_FALSE(judge(packet).allowed);
}

TEST_CASE("inner packets: IPv6 extension headers are refused", "[apps][gateway]") {
  // Hop-by-hop, routing, fragment, encapsulation, authentication, none, destination options, mobility, HIP, shim6.
  const auto next = GENERATE(as<std::uint8_t>{}, 0, 43, 44, 41, 4, 47, 50, 51, 59, 60, 135, 139, 140, 1);
  CAPTURE(static_cast<int>(next));
  ByteBuffer payload = {kTcp, 0, 0, 0, 0, 0, 0, 0};
  const ByteBuffer tcp = transport(kTcp, 40000, 443);
  payload.insert(payload.end(), tcp.begin(), tcp.end());

  CHECK_FALSE(judge(packet6("fd00:64::2", "2001:db8:99::5", next, payload)).allowed);
}

TEST_CASE("inner packets: every truncation and one octet too many are refused", "[apps][gateway]") {
  for (const ByteBuffer& good : {packet4("10.64.0.2", "10.99.0.5", kTcp, transport(kTcp, 40000, 80)),
                                 packet6("fd00:64::2", "2001:db8:99::5", kTcp, transport(kTcp, 40000, 443))}) {
    REQUIRE(judge(good).allowed);
    for (std::size_t length = 0; length < good.size(); ++length) {
      CAPTURE(length);
      CHECK_FALSE(judge(ByteView(good).first(length)).allowed);
    }
    ByteBuffer longer = good;
    longer.push_back(0);
    CHECK_FALSE(judge(longer).allowed);
  }
}

TEST_CASE("inner packets: of ICMP only echo starts a flow", "[apps][gateway]") {
  for (unsigned type = 0; type < 256; ++type) {
    CAPTURE(type);
    ByteBuffer four = transport(kIcmp, 0, 0);
    ByteBuffer six = transport(kIcmpV6, 0, 0);
    four[0] = six[0] = static_cast<std::uint8_t>(type);
    CHECK(judge(packet4("10.64.0.2", "10.99.0.5", kIcmp, four)).allowed == (type == 8));
    CHECK(judge(packet6("fd00:64::2", "2001:db8:99::5", kIcmpV6, six)).allowed == (type == 128));
  }
}

// "Fragmentation needed" (type 3, code 4) that quotes `quoted`.
ByteBuffer too_big(const ByteBuffer& quoted) {
  ByteBuffer icmp = {3, 4, 0, 0, 0, 0, 5, 0};
  icmp.insert(icmp.end(), quoted.begin(), quoted.end());
  return icmp;
}

TEST_CASE("inner packets: an ICMP error passes about what the client may receive and about nothing else",
          "[apps][gateway]") {
  const auto answer = packet4("10.99.0.5", "10.64.0.2", kTcp, transport(kTcp, 80, 40000));
  CHECK(judge(packet4("10.64.0.2", "10.99.0.5", kIcmp, too_big(answer))).allowed);

  const auto forbidden_port = packet4("10.99.0.5", "10.64.0.2", kTcp, transport(kTcp, 22, 40000));
  CHECK_FALSE(judge(packet4("10.64.0.2", "10.99.0.5", kIcmp, too_big(forbidden_port))).allowed);
  const auto of_another_client = packet4("10.99.0.5", "10.64.0.3", kTcp, transport(kTcp, 80, 40000));
  CHECK_FALSE(judge(packet4("10.64.0.2", "10.99.0.5", kIcmp, too_big(of_another_client))).allowed);
  const auto of_another_host = packet4("10.99.0.6", "10.64.0.2", kTcp, transport(kTcp, 80, 40000));
  CHECK_FALSE(judge(packet4("10.64.0.2", "10.99.0.5", kIcmp, too_big(of_another_host))).allowed);
}

}  // namespace
}  // namespace natt::gateway
