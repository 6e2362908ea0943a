// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "apps/gateway/entitlement_rule.h"

namespace natt::gateway {
namespace {

TEST_CASE("rule: every form that is documented is read and comes back in canonical form", "[apps][gateway]") {
  struct Row {
    std::string_view text;
    std::string_view canonical;
  };
  const auto row = GENERATE(values<Row>({
      {"tcp/10.99.0.0/24:1-65535", "tcp/10.99.0.0/24:1-65535"},
      {"tcp/10.99.0.7:80", "tcp/10.99.0.7:80"},
      {"tcp/10.99.0.7/32:80", "tcp/10.99.0.7:80"},
      {"tcp/10.99.0.7:80-80,443", "tcp/10.99.0.7:80,443"},
      {"udp/10.99.0.53:53,5353", "udp/10.99.0.53:53,5353"},
      {"tcp/[2001:db8::]/48:443", "tcp/[2001:db8::]/48:443"},
      {"tcp/2001:db8::/48:443", "tcp/[2001:db8::]/48:443"},
      {"tcp/[2001:db8::1]:443", "tcp/[2001:db8::1]:443"},
      {"tcp/[::]/0:443", "tcp/[::]/0:443"},
      {"tcp/[::ffff:10.0.0.1]:443", "tcp/10.0.0.1:443"},
      {"tcp/Wiki.Corp.Example.:443", "tcp/wiki.corp.example:443"},
      {"tcp/localhost:443", "tcp/localhost:443"},
      {"icmp/10.99.0.0/24", "icmp/10.99.0.0/24"},
      {"icmp/2001:db8::/32", "icmp/[2001:db8::]/32"},
      {"any/10.99.0.7", "any/10.99.0.7"},
      {"any/[2001:db8::1]", "any/[2001:db8::1]"},
      {"tcp/0.0.0.0/0:1-65535", "tcp/0.0.0.0/0:1-65535"},
  }));
  CAPTURE(row.text);

  const auto rule = parse_rule(row.text);

  REQUIRE(rule);
  CHECK(rule->text == row.canonical);
  CHECK(parse_rule(rule->text)->text == rule->text);
}

TEST_CASE("rule: anything else is refused with a sentence", "[apps][gateway]") {
  const std::string_view text =
      GENERATE(as<std::string_view>{}, "", "tcp", "tcp/", "tcp/:", "tcp/:80", "tcp/10.0.0.1",
               "tcp/10.0.0.1:", "tcp/10.0.0.1:0", "tcp/10.0.0.1:65536", "tcp/10.0.0.1:80-", "tcp/10.0.0.1:-80",
               "tcp/10.0.0.1:90-80", "tcp/10.0.0.1:80,", "tcp/10.0.0.1:,80", "tcp/10.0.0.1:80 ", "tcp/10.0.0.1:*",
               "tcp/10.0.0.5/24:80", "tcp/10.0.0.0/33:80", "tcp/10.0.0.0/-1:80", "tcp/10.0.0.0/24/24:80",
               "TCP/10.0.0.1:80", "sctp/10.0.0.1:80", "10.0.0.1:80", "tcp/2001:db8::1:443", "tcp/[2001:db8::1:443",
               "tcp/2001:db8::1]:443", "tcp/[2001:db8::1]443", "tcp/[10.0.0.1]:443", "tcp/[wiki]:443", "tcp/a..b:443",
               "tcp/-a:443", "tcp/a-:443", "tcp/10.1:443", "tcp/0x7f000001:443", "tcp/wi ki:443", "icmp/10.0.0.1:80",
               "any/10.0.0.1:80", "any/", "icmp/", "tcp/10.0.0.1:1-2-3", "tcp/*:80", "tcp/a.0:80",
               "tcp/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1");
  CAPTURE(text);

  const auto rule = parse_rule(text);

  REQUIRE_FALSE(rule);
  CHECK(rule.error().message.size() > 20);
}

TEST_CASE("rule: no more port ranges than a rule may have", "[apps][gateway]") {
  std::string text = "tcp/10.0.0.1:1";
  for (std::size_t i = 1; i < kMaxPortRangesPerRule; ++i) text += "," + std::to_string(i + 1);

  CHECK(parse_rule(text));
  CHECK_FALSE(parse_rule(text + ",99"));
}

TEST_CASE("rule: host names have limits of their own", "[apps][gateway]") {
  std::string name = "a";
  while (name.size() < 252) name += ".b";
  CHECK(canonical_host_name(name));
  CHECK(canonical_host_name(std::string(63, 'a') + ".example"));
  CHECK_FALSE(canonical_host_name(std::string(64, 'a') + ".example"));
  CHECK_FALSE(canonical_host_name(name + ".cc"));
  CHECK_FALSE(canonical_host_name("."));
  CHECK_FALSE(canonical_host_name("a.."));
  CHECK_FALSE(canonical_host_name("a.1"));
}

}  // namespace
}  // namespace natt::gateway
