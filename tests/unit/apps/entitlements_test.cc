// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/entitlements.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/gateway/embedded_ipv4.h"

namespace natt::gateway {
namespace {

using Catch::Matchers::ContainsSubstring;

const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kBob{"hq", Role::kClient, "bob"};

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

Entitlement entitlement(std::string client, std::initializer_list<std::string_view> rules) {
  Entitlement result{std::move(client), {}};
  for (const std::string_view text : rules) result.allow.push_back(*parse_rule(text));
  return result;
}

NeverList never_list() {
  return {.own = {ip("10.99.0.1"), ip("203.0.113.7"), ip("2001:db8:1::1")},
          .brokers = {ip("198.51.100.10"), ip("2001:db8:b::10")},
          .pool = {*IpPrefix::parse("10.64.0.0/24"), *IpPrefix::parse("fd00:64::/64")}};
}

// alice has narrow rules; "*" has the widest that can be written.
Entitlements narrow() {
  return Entitlements("hq",
                      {entitlement("alice", {"tcp/10.99.0.0/24:80,8000-8999", "tcp/wiki.corp:443", "udp/10.99.0.53:53",
                                             "tcp/[2001:db8:99::]/48:443", "tcp/127.0.0.1:5432"})},
                      never_list());
}

Entitlements wide() {
  return Entitlements("hq",
                      {entitlement("*", {"tcp/0.0.0.0/0:1-65535", "tcp/[::]/0:1-65535", "tcp/any.name:1-65535",
                                         "any/10.64.0.9", "tcp/198.51.100.10:22"})},
                      never_list());
}

struct DialRow {
  std::string_view host;  // empty: by address
  std::string_view address;
  std::uint16_t port;
  bool allowed;
  std::string_view reason;
  Transport transport = Transport::kTcp;
};

DialTarget target_of(const DialRow& row) { return {row.transport, std::string(row.host), {ip(row.address)}, row.port}; }

TEST_CASE("entitlements: narrow rules open what they name and nothing beside it", "[apps][gateway]") {
  const auto row = GENERATE(values<DialRow>({
      {"", "10.99.0.5", 80, true, "tcp/10.99.0.0/24:80,8000-8999"},
      {"", "10.99.0.255", 8999, true, "tcp/10.99.0.0/24:80,8000-8999"},
      {"", "10.99.0.5", 81, false, "no rule allows it"},
      {"", "10.99.0.5", 7999, false, "no rule allows it"},
      {"", "10.99.0.5", 9000, false, "no rule allows it"},
      {"", "10.99.1.0", 80, false, "no rule allows it"},
      {"", "10.98.255.255", 80, false, "no rule allows it"},
      {"", "10.99.0.5", 80, false, "no rule allows it", Transport::kUdp},
      {"", "10.99.0.53", 53, true, "udp/10.99.0.53:53", Transport::kUdp},
      {"", "10.99.0.53", 53, false, "no rule allows it"},
      {"", "10.99.0.5", 0, false, "port 0"},
      {"", "::ffff:10.99.0.5", 80, true, "tcp/10.99.0.0/24:80,8000-8999"},
      {"", "64:ff9b::10.99.0.5", 80, true, "tcp/10.99.0.0/24:80,8000-8999"},
      {"", "64:ff9b::10.98.0.5", 80, false, "no rule allows it"},
      {"", "64:ff9b::10.99.0.5", 81, false, "no rule allows it"},
      {"", "::10.99.0.5", 80, false, "no rule allows it"},
      {"", "2002:a63:5::1", 80, false, "no rule allows it"},
      {"", "2001:db8:99::5", 443, true, "tcp/[2001:db8:99::]/48:443"},
      {"", "2001:db8:99:ffff::5", 443, true, "tcp/[2001:db8:99::]/48:443"},
      {"", "2001:db8:98::5", 443, false, "no rule allows it"},
      {"", "2001:db8:99::5", 80, false, "no rule allows it"},
      {"wiki.corp", "192.0.2.80", 443, true, "tcp/wiki.corp:443"},
      {"WIKI.corp.", "192.0.2.80", 443, true, "tcp/wiki.corp:443"},
      {"wiki.corp", "192.0.2.80", 80, false, "no rule allows it"},
      {"wiki.corp", "10.99.0.5", 80, true, "tcp/10.99.0.0/24:80,8000-8999"},
      {"xwiki.corp", "192.0.2.80", 443, false, "no rule allows it"},
      {"wiki.corp.evil", "192.0.2.80", 443, false, "no rule allows it"},
      {"", "192.0.2.80", 443, false, "no rule allows it"},
      {"wiki.corp", "127.0.0.1", 443, false, "loopback"},
      {"wiki.corp", "169.254.169.254", 443, false, "cloud metadata"},
      {"wiki.corp", "10.99.0.1", 443, false, "the gateway's own address"},
      {"wiki corp", "192.0.2.80", 443, false, "malformed"},
      {"wiki.corp\n", "192.0.2.80", 443, false, "malformed"},
      {"", "127.0.0.1", 5432, true, "tcp/127.0.0.1:5432"},
      {"", "127.0.0.1", 5433, false, "loopback"},
      {"", "127.0.0.2", 5432, false, "loopback"},
      {"", "64:ff9b::127.0.0.1", 5432, true, "tcp/127.0.0.1:5432"},
      {"", "10.99.0.1", 80, false, "the gateway's own address"},
      {"", "10.64.0.9", 80, false, "client to client"},
  }));
  CAPTURE(row.host, row.address, row.port);

  const Decision decision = narrow().check_dial(kAlice, target_of(row));

  CHECK(decision.allowed == row.allowed);
  CHECK_THAT(decision.reason, ContainsSubstring(std::string(row.reason)));
  CHECK(decision.addresses == (row.allowed ? std::vector{ip(row.address)} : std::vector<IpAddress>{}));
}

TEST_CASE("entitlements: the widest rules open nothing of the never-list", "[apps][gateway]") {
  const auto row = GENERATE(values<DialRow>({
      {"", "192.0.2.1", 80, true, "tcp/0.0.0.0/0:1-65535"},
      {"", "2001:db8:99::1", 80, true, "tcp/[::]/0:1-65535"},
      {"", "127.0.0.1", 80, false, "loopback"},
      {"", "127.255.255.254", 80, false, "loopback"},
      {"", "::1", 80, false, "loopback"},
      {"", "::ffff:127.0.0.1", 80, false, "loopback"},
      {"", "64:ff9b::127.0.0.1", 80, false, "loopback"},
      {"", "::127.0.0.1", 80, false, "loopback"},
      {"", "2002:7f00:1::", 80, false, "loopback"},
      {"", "2002:7f00:1:1234::1", 80, false, "loopback"},
      {"", "2001:0:c000:201::80ff:fffe", 80, false, "loopback"},
      {"", "2001:0:7f00:1::3fff:fdfe", 80, false, "loopback"},
      {"", "2001:db8::5efe:7f00:1", 80, false, "loopback"},
      {"", "2001:db8::200:5efe:7f00:1", 80, false, "loopback"},
      {"", "2001:0:cb00:7107::3fff:fdfe", 80, false, "the gateway's own address"},
      {"", "2001:0:c000:201::3fff:fdfe", 80, true, "tcp/[::]/0:1-65535"},
      {"", "2002:c000:201::1", 80, true, "tcp/[::]/0:1-65535"},
      {"", "64:ff9b:1::127.0.0.1", 80, false, "local NAT64"},
      {"", "64:ff9b:1:7f00:0:100::", 80, false, "local NAT64"},
      {"", "0.0.0.0", 80, false, "unspecified"},
      {"", "0.1.2.3", 80, false, "unspecified"},
      {"", "::", 80, false, "unspecified"},
      {"", "::ffff:0.0.0.0", 80, false, "unspecified"},
      {"", "64:ff9b::0.0.0.0", 80, false, "unspecified"},
      {"", "169.254.1.1", 80, false, "link-local"},
      {"", "fe80::1", 80, false, "link-local"},
      {"", "febf::1", 80, false, "link-local"},
      {"", "169.254.169.254", 80, false, "cloud metadata"},
      {"", "64:ff9b::169.254.169.254", 80, false, "cloud metadata"},
      {"", "2002:a9fe:a9fe::1", 80, false, "cloud metadata"},
      {"", "fd00:ec2::254", 80, false, "cloud metadata"},
      {"", "fd20:ce::254", 80, false, "cloud metadata"},
      {"", "192.0.0.192", 80, false, "cloud metadata"},
      {"", "100.100.100.200", 80, false, "cloud metadata"},
      {"", "168.63.129.16", 80, false, "cloud metadata"},
      {"", "224.0.0.1", 80, false, "multicast"},
      {"", "239.255.255.255", 80, false, "multicast"},
      {"", "ff02::1", 80, false, "multicast"},
      {"", "255.255.255.255", 80, false, "broadcast"},
      {"", "240.0.0.1", 80, false, "reserved"},
      {"", "10.99.0.1", 22, false, "the gateway's own address"},
      {"", "203.0.113.7", 22, false, "the gateway's own address"},
      {"", "2001:db8:1::1", 22, false, "the gateway's own address"},
      {"", "64:ff9b::203.0.113.7", 22, false, "the gateway's own address"},
      {"", "2002:cb00:7107::1", 22, false, "the gateway's own address"},
      {"", "198.51.100.10", 443, false, "a broker"},
      {"", "198.51.100.10", 22, true, "tcp/198.51.100.10:22"},
      {"", "2001:db8:b::10", 443, false, "a broker"},
      {"", "10.64.0.1", 80, false, "client to client"},
      {"", "10.64.0.9", 80, false, "client to client"},
      {"", "fd00:64::9", 80, false, "client to client"},
      {"", "64:ff9b::10.64.0.9", 80, false, "client to client"},
      {"any.name", "127.0.0.1", 80, false, "loopback"},
      {"any.name", "fe80::1", 80, false, "link-local"},
      {"any.name", "169.254.169.254", 80, false, "cloud metadata"},
      {"any.name", "198.51.100.10", 443, false, "a broker"},
  }));
  CAPTURE(row.host, row.address, row.port);

  const Decision decision = wide().check_dial(kBob, target_of(row));

  CHECK(decision.allowed == row.allowed);
  CHECK_THAT(decision.reason, ContainsSubstring(std::string(row.reason)));
}

TEST_CASE("entitlements: who has no rule reaches nothing", "[apps][gateway]") {
  const Entitlements entitlements = narrow();
  const DialTarget target{Transport::kTcp, "", {ip("10.99.0.5")}, 80};

  CHECK(entitlements.knows(kAlice));
  CHECK(entitlements.check_dial(kAlice, target).allowed);
  for (const Identity& other : {kBob, Identity{"moon", Role::kClient, "alice"}, Identity{"hq", Role::kGateway, "alice"},
                                Identity{"hq", Role::kBroker, "alice"}, Identity{"hq", Role::kClient, "*"},
                                Identity{"hq", Role::kClient, ""}, Identity{"hq", Role::kClient, "alic"}}) {
    CAPTURE(other.uri());
    CHECK_FALSE(entitlements.knows(other));
    CHECK_FALSE(entitlements.check_dial(other, target).allowed);
  }
  CHECK_FALSE(Entitlements("hq", {}, {}).knows(kAlice));
  CHECK_FALSE(Entitlements("hq", {entitlement("alice", {})}, {}).knows(kAlice));
}

TEST_CASE("entitlements: a star is for every client of the site and of no other", "[apps][gateway]") {
  const Entitlements entitlements = wide();

  CHECK(entitlements.knows(kAlice));
  CHECK(entitlements.knows(kBob));
  CHECK_FALSE(entitlements.knows({"moon", Role::kClient, "bob"}));
  CHECK_FALSE(entitlements.knows({"hq", Role::kGateway, "bob"}));
}

TEST_CASE("entitlements: of several addresses of a name only the allowed ones are dialled", "[apps][gateway]") {
  const DialTarget target{
      Transport::kTcp, "wiki.corp", {ip("127.0.0.1"), ip("192.0.2.80"), ip("10.99.0.1"), ip("2001:db8::80")}, 443};

  const Decision decision = narrow().check_dial(kAlice, target);

  CHECK(decision.allowed);
  CHECK(decision.addresses == std::vector{ip("192.0.2.80"), ip("2001:db8::80")});
}

TEST_CASE("entitlements: no more addresses of a name are looked at than the limit", "[apps][gateway]") {
  DialTarget target{Transport::kTcp, "wiki.corp", {}, 443};
  for (std::uint8_t i = 1; i <= 40; ++i) target.addresses.push_back(IpAddress::v4({192, 0, 2, i}));

  CHECK(narrow().check_dial(kAlice, target).addresses.size() == kMaxDialAddresses);
  target.addresses.clear();
  CHECK_THAT(narrow().check_dial(kAlice, target).reason, ContainsSubstring("does not resolve"));
}

TEST_CASE("entitlements: only TCP and UDP are dialled", "[apps][gateway]") {
  for (const Transport transport : {Transport::kIcmp, Transport::kAny}) {
    CHECK_FALSE(wide().check_dial(kAlice, {transport, "", {ip("192.0.2.1")}, 80}).allowed);
  }
}

TEST_CASE("embedded IPv4: addresses without one embed none", "[apps][gateway]") {
  for (const std::string_view text :
       {"2001:db8::1", "::", "::1", "fd00::1", "fe80::1", "192.0.2.1", "2001:1::7f00:1", "64:ff9c::7f00:1"}) {
    CAPTURE(text);
    CHECK(embedded_ipv4(ip(text)).empty());
    CHECK_FALSE(nat64_target(ip(text)));
  }
}

}  // namespace
}  // namespace natt::gateway
