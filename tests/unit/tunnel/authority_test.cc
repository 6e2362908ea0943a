// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tunnel/authority.h>

#include "libtunnel/src/http/message_head.h"

using namespace natt;
using namespace natt::tunnel;

TEST_CASE("authority: names and addresses parse to one canonical form", "[tunnel][authority]") {
  const auto [text, host, port] = GENERATE(table<std::string, std::string, std::uint16_t>({
      {"db.example:5432", "db.example", 5432},
      {"DB.Example:1", "db.example", 1},
      {"_sip._udp.example:5060", "_sip._udp.example", 5060},
      {"localhost:65535", "localhost", 65535},
      {"10.99.0.5:22", "10.99.0.5", 22},
      {"[2001:db8::1]:443", "2001:db8::1", 443},
      {"[2001:DB8:0:0:0:0:0:1]:443", "2001:db8::1", 443},
      {"a1:80", "a1", 80},
  }));
  CAPTURE(text);
  const auto authority = Authority::parse(text);
  REQUIRE(authority);
  CHECK(authority->host == host);
  CHECK(authority->port == port);
  CHECK(Authority::parse(authority->to_string()) == authority);
  CHECK(parse_connect_udp_path(connect_udp_path(*authority)) == authority);
}

TEST_CASE("authority: everything else is refused", "[tunnel][authority]") {
  const auto text = GENERATE(as<std::string>{}, "", ":", "host", "host:", ":80", "host:0", "host:65536", "host:080",
                             "host:+80", "host:80 ", " host:80", "host:80:90", "user@host:80", "host.:80", ".host:80",
                             "a..b:80", "-a:80", "a-:80", "ho st:80", "h/st:80", "[2001:db8::1]", "[2001:db8::1]443",
                             "[10.0.0.1]:80", "[fe80::1%eth0]:80", "2001:db8::1:80", "[]:80", "[host]:80", "0x7f.1:80",
                             "2130706433:80", "10.1:80", "1.2.3.4.5:80", "256.1.1.1:80", "host.0x10:80", "\xc3\xbc.de:80");
  CAPTURE(text);
  CHECK_FALSE(Authority::parse(text));
}

TEST_CASE("authority: labels and names end where RFC 1035 ends them", "[tunnel][authority]") {
  const std::string label(63, 'a');
  CHECK(Authority::parse(label + ":80"));
  CHECK_FALSE(Authority::parse(label + "a:80"));
  const std::string name = label + "." + label + "." + label + "." + std::string(61, 'b');
  CHECK(name.size() == 253);
  CHECK(Authority::parse(name + ":80"));
  CHECK_FALSE(Authority::parse("c" + name + ":80"));
}

TEST_CASE("authority: an IPv4 address in IPv6 clothes is the IPv4 address", "[tunnel][authority]") {
  const auto mapped = Authority::parse("[::ffff:10.0.0.1]:80");
  REQUIRE(mapped);
  CHECK(mapped->ip() == IpAddress::parse("10.0.0.1"));
  CHECK(mapped->to_string() == "10.0.0.1:80");
  CHECK_FALSE(Authority::parse("db.example:1")->ip());
}

TEST_CASE("connect-udp path: the template of RFC 9298 and nothing near it", "[tunnel][authority]") {
  CHECK(connect_udp_path({"2001:db8::42", 443}) == "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/");
  CHECK(parse_connect_udp_path("/.well-known/masque/udp/2001%3adb8%3A%3A42/443/") == Authority{"2001:db8::42", 443});
  const auto path = GENERATE(as<std::string>{}, "", "/", "/.well-known/masque/udp/", "/.well-known/masque/udp/a/443",
                             "/.well-known/masque/udp//443/", "/.well-known/masque/udp/a//", "/.well-known/masque/udp/a/443/x",
                             "/.well-known/masque/udp/a/443//", "/.well-known/masque/udp/a%/443/", "/.well-known/masque/udp/a%2/443/",
                             "/.well-known/masque/udp/a%zz/443/", "/.well-known/masque/udp/a%2Fb/443/", "/.well-known/masque/udp/a%00/443/",
                             "/.well-known/masque/ip/*/*/", "/.well-known/masque/udp/a/443/?q", ".well-known/masque/udp/a/443/");
  CAPTURE(path);
  CHECK_FALSE(parse_connect_udp_path(path));
}

TEST_CASE("request: what a tunnel carries is told from what it does not", "[tunnel][http]") {
  MessageHead connect;
  connect.method = "CONNECT";
  connect.authority = "db.example:5432";
  CHECK(read_target(connect)->protocol == Protocol::kTcp);

  MessageHead udp = connect;
  udp.protocol = "connect-udp";
  udp.scheme = "https";
  udp.path = "/.well-known/masque/udp/10.0.0.1/53/";
  CHECK(read_target(udp)->protocol == Protocol::kUdp);
  CHECK(read_target(udp)->authority == Authority{"10.0.0.1", 53});

  MessageHead ip = udp;
  ip.protocol = "connect-ip";
  ip.path = "/.well-known/masque/ip/*/*/";
  CHECK(read_target(ip)->protocol == Protocol::kIp);

  const auto [name, status, change] = GENERATE(table<std::string, int, void (*)(MessageHead&)>({
      {"GET", 405, [](MessageHead& head) { head.method = "GET"; }},
      {"websocket", 501, [](MessageHead& head) { head.protocol = "websocket"; }},
      {"http scheme", 400, [](MessageHead& head) { head.scheme = "http"; }},
      {"no authority", 400, [](MessageHead& head) { head.authority.clear(); }},
      {"scoped ip path", 400, [](MessageHead& head) { head.path = "/.well-known/masque/ip/10.0.0.0%2F8/17/"; }},
      {"no path", 400, [](MessageHead& head) { head.path.clear(); }},
      {"too large", 431, [](MessageHead& head) { head.size = kMaxFieldSection + 1; }},
  }));
  CAPTURE(name);
  change(ip);
  REQUIRE_FALSE(read_target(ip));
  CHECK(read_target(ip).error() == status);
}

TEST_CASE("proxy-status: a reason survives, whatever it holds", "[tunnel][http]") {
  const auto [reason, expected] = GENERATE(table<std::string, std::string>({
      {"", ""},
      {"no rule allows tcp 10.0.0.1:22", "no rule allows tcp 10.0.0.1:22"},
      {"quote \" and \\ slash", "quote \" and \\ slash"},
      {"line\r\nfeed", "line??feed"},
      {std::string(500, 'a'), std::string(kMaxReason, 'a')},
  }));
  CHECK(reason_of(proxy_status(reason)) == expected);
}

TEST_CASE("proxy-status: a peer's own spelling yields text or nothing", "[tunnel][http]") {
  CHECK(reason_of("proxy.example; error=dns_error; details=\"NXDOMAIN\"") == "NXDOMAIN");
  CHECK(reason_of("a; details=\"first\", b; details=\"second\"") == "second");
  CHECK(reason_of("a; details=\"cut off").size() == 7);
  CHECK(reason_of("a; details=\"ends in \\").size() == 9);
  CHECK(reason_of("a; error=dns_error").empty());
}
