// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/dns_suffix.h>

#include <tests/support/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

ByteBuffer bytes(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

ByteBuffer wire(std::string_view text) {
  const auto suffix = DnsSuffix::parse(text);
  REQUIRE(suffix);
  return {suffix->wire().begin(), suffix->wire().end()};
}

}  // namespace

TEST_CASE("spa dns suffix: labels, their lengths and the root, in lower case", "[spa][dns_suffix]") {
  using namespace std::string_view_literals;
  CHECK(wire("a") == bytes("\1a\0"sv));
  CHECK(wire("Ns1.Corp.Example") == bytes("\3ns1\4corp\7example\0"sv));
  CHECK(wire("x-1.2") == bytes("\3x-1\0012\0"sv));
  CHECK(DnsSuffix().wire().size() == 1);
  CHECK(DnsSuffix().text().empty());
}

TEST_CASE("spa dns suffix: the text comes back in lower case", "[spa][dns_suffix]") {
  for (const char* text : {"a", "ns1.corp.example", "x-1.2", "0"}) CHECK(DnsSuffix::parse(text)->text() == text);
  CHECK(DnsSuffix::parse("EXAMPLE.Net") == DnsSuffix::parse("example.net"));
}

TEST_CASE("spa dns suffix: what is no host name of 60 octets is refused", "[spa][dns_suffix]") {
  for (const char* text : {"", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "a\tb", "\xc3\xa4", "a*"}) {
    CAPTURE(text);
    CHECK_FALSE(DnsSuffix::parse(text));
  }
  CHECK_FALSE(DnsSuffix::parse(std::string_view("a\0b", 3)));
  CHECK(DnsSuffix::parse(std::string(60, 'a')));
  CHECK_FALSE(DnsSuffix::parse(std::string(61, 'a')));
  CHECK(wire(std::string(29, 'a') + "." + std::string(30, 'b')).size() == DnsSuffix::kMaxText + 2);
}

TEST_CASE("spa dns suffix: a site's own follows from its PSK and from nothing else", "[spa][dns_suffix]") {
  test::SeededRandom random(test::test_seed());
  const SitePsk one(random.bytes<32>());
  const SitePsk other(random.bytes<32>());
  const std::string text = DnsSuffix::of_site(one).text();

  CHECK(text == DnsSuffix::of_site(one).text());
  CHECK(text != DnsSuffix::of_site(other).text());
  CHECK(text.size() == 8 + std::string_view(".internal").size());
  CHECK(text.ends_with(".internal"));
  CHECK(DnsSuffix::parse(text) == DnsSuffix::of_site(one));
}
