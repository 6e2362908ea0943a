// SPDX-License-Identifier: Apache-2.0
// Addresses, blocks and the names of errors.
#include <natt/address.h>

#include <unordered_set>

#include <natt/spa/errc.h>
#include <natt/time.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;

namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

}  // namespace

TEST_CASE("address: both families are written the way they are read", "[spa][address]") {
  for (const char* text : {"192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:2"}) {
    CAPTURE(text);
    REQUIRE(IpAddress::parse(text));
    CHECK(ip(text).to_string() == text);
  }
  for (const char* text : {"", "192.0.2", "192.0.2.256", "192.0.2.1.1", "[::1]", "fe80::1%eth0", "::g", "1 "}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::parse(text));
  }
}

TEST_CASE("address: an IPv4 address is the same in either notation", "[spa][address]") {
  const auto v4 = IpAddress::v4({192, 0, 2, 1});
  CHECK(v4 == ip("::ffff:192.0.2.1"));
  CHECK(v4 == IpAddress::v6(v4.octets()));
  CHECK(v4.is_v4());
  CHECK(v4.v4_octets() == std::array<std::uint8_t, 4>{192, 0, 2, 1});
  CHECK_FALSE(ip("2001:db8::1").is_v4());
}

TEST_CASE("address: kinds are told apart", "[spa][address]") {
  struct Row {
    const char* text;
    bool unspecified, loopback, link_local, multicast, is_private, global;
  };
  for (const Row& row : {Row{"::", true, false, false, false, false, false},
                         Row{"0.0.0.0", true, false, false, false, false, false},
                         Row{"127.0.0.1", false, true, false, false, false, false},
                         Row{"::1", false, true, false, false, false, false},
                         Row{"169.254.1.1", false, false, true, false, false, false},
                         Row{"fe80::1", false, false, true, false, false, false},
                         Row{"224.0.0.1", false, false, false, true, false, false},
                         Row{"ff02::1", false, false, false, true, false, false},
                         Row{"10.0.0.1", false, false, false, false, true, false},
                         Row{"172.16.0.1", false, false, false, false, true, false},
                         Row{"192.168.0.1", false, false, false, false, true, false},
                         Row{"100.64.0.1", false, false, false, false, true, false},
                         Row{"fd00::1", false, false, false, false, true, false},
                         Row{"8.8.8.8", false, false, false, false, false, true},
                         Row{"2606:4700::1111", false, false, false, false, false, true},
                         Row{"255.255.255.255", false, false, false, false, false, false},
                         Row{"240.0.0.1", false, false, false, false, false, false}}) {
    const IpAddress address = ip(row.text);
    CAPTURE(row.text);
    CHECK(address.is_unspecified() == row.unspecified);
    CHECK(address.is_loopback() == row.loopback);
    CHECK(address.is_link_local() == row.link_local);
    CHECK(address.is_multicast() == row.multicast);
    CHECK(address.is_private() == row.is_private);
    CHECK(address.is_global() == row.global);
  }
}

TEST_CASE("address: with a port, both families are read and written, and serve as keys", "[spa][address]") {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:443", "[::]:0", "0.0.0.0:65535"}) {
    CAPTURE(text);
    REQUIRE(SocketAddress::parse(text));
    CHECK(SocketAddress::parse(text)->to_string() == text);
  }
  for (const char* text : {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "[::1]", "::1:443", "[::1]443", "[::1:443",
                           "192.0.2.1:4x", "[192.0.2.300]:1"}) {
    CAPTURE(text);
    CHECK_FALSE(SocketAddress::parse(text));
  }
  std::unordered_set<SocketAddress> set{*SocketAddress::parse("192.0.2.1:1"), *SocketAddress::parse("192.0.2.1:2"),
                                        *SocketAddress::parse("[::ffff:192.0.2.1]:1")};
  CHECK(set.size() == 2);
}

TEST_CASE("address: a block holds its addresses and no others", "[spa][address]") {
  const auto block = IpPrefix::parse("10.1.0.0/16");
  REQUIRE(block);
  CHECK(block->length == 112);
  CHECK(block->contains(ip("10.1.255.255")));
  CHECK_FALSE(block->contains(ip("10.2.0.0")));
  CHECK_FALSE(block->contains(ip("2001:db8::1")));
  CHECK(block->to_string() == "10.1.0.0/16");

  const auto v6 = IpPrefix::parse("2001:db8::/33");
  REQUIRE(v6);
  CHECK(v6->contains(ip("2001:db8:7fff::1")));
  CHECK_FALSE(v6->contains(ip("2001:db8:8000::1")));
  CHECK(v6->to_string() == "2001:db8::/33");
  CHECK(IpPrefix::parse("192.0.2.1")->contains(ip("192.0.2.1")));
  CHECK_FALSE(IpPrefix::parse("192.0.2.1")->contains(ip("192.0.2.2")));
  for (const char* text : {"", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/a", "x/8"}) {
    CAPTURE(text);
    CHECK_FALSE(IpPrefix::parse(text));
  }
}

TEST_CASE("address: one step outside of each kind is not of the kind", "[spa][address]") {
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  for (const char* text : {"169.253.255.255", "169.255.0.0", "168.254.0.1", "fe7f::1", "fec0::1", "fd80::1"}) {
    CAPTURE(text);
    CHECK_FALSE(ip(text).is_link_local());
  }
  CHECK(ip("fe80::1").is_link_local());
  CHECK(ip("febf::1").is_link_local());
  for (const char* text : {"9.0.0.1", "11.0.0.1", "172.15.255.255", "172.32.0.0", "171.16.0.1", "192.167.255.255",
                           "192.169.0.0", "191.168.0.1", "100.63.255.255", "100.128.0.0", "99.64.0.1", "fbff::1", "fe00::1"}) {
    CAPTURE(text);
    CHECK_FALSE(ip(text).is_private());
  }
  CHECK(ip("100.64.0.0").is_private());
  CHECK(ip("100.127.255.255").is_private());
  CHECK(ip("172.31.255.255").is_private());
  for (const char* text : {"0.1.2.3", "240.0.0.1", "255.255.255.255", "1fff::1", "4000::1", "fe80::1", "ff02::1", "::1",
                           "127.0.0.1", "0.0.0.0", "::", "224.0.0.1", "10.0.0.1"}) {
    CAPTURE(text);
    CHECK_FALSE(ip(text).is_global());
  }
  CHECK(ip("239.0.0.1").is_multicast());
  CHECK_FALSE(ip("240.0.0.1").is_multicast());
  CHECK_FALSE(ip("fe00::1").is_multicast());
  CHECK(ip("223.255.255.254").is_global());
  CHECK(ip("1.0.0.1").is_global());
}

TEST_CASE("address: text that is no address is refused", "[spa][address]") {
  CHECK_FALSE(IpAddress::parse(""));
  CHECK_FALSE(IpAddress::parse(std::string(46, '1')));
  CHECK_FALSE(IpAddress::parse("1.2.3"));
  CHECK_FALSE(IpAddress::parse("1.2.3.4 "));
  for (const char* text : {"", "1.2.3.4", ":443", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "[1.2.3.4]:443", "::1:443x",
                           "[::1:443", "::1]:443", "[]:443", "[:443", "]:443", "2001:db8::1:443"}) {
    CAPTURE(text);
    CHECK_FALSE(SocketAddress::parse(text));
  }
  for (const char* text : {"", "/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "2001:db8::/129", "10.0.0.0/8/8"}) {
    CAPTURE(text);
    CHECK_FALSE(IpPrefix::parse(text));
  }
}

TEST_CASE("spa errors: every code has its own words", "[spa][errc]") {
  using spa::Errc;
  std::unordered_set<std::string> words;
  for (const Errc code : {Errc::kBadKey, Errc::kLimit, Errc::kDuplicate, Errc::kInUse, Errc::kUnavailable}) {
    const std::error_code made = make_error_code(code);
    CHECK(std::string(made.category().name()) == "spa");
    words.insert(made.message());
  }
  CHECK(words.size() == 5);
  CHECK_FALSE(words.contains(std::error_code(9999, make_error_code(Errc::kLimit).category()).message()));
}

TEST_CASE("time: of two deadlines the earlier counts, and none is later than any", "[spa][time]") {
  const Instant one{std::chrono::seconds(1)};
  const Instant two{std::chrono::seconds(2)};
  CHECK(earlier(one, two) == one);
  CHECK(earlier(two, one) == one);
  CHECK(earlier(std::nullopt, two) == two);
  CHECK(earlier(one, std::nullopt) == one);
  CHECK_FALSE(earlier(std::nullopt, std::nullopt));
}
