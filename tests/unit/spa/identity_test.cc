// SPDX-License-Identifier: Apache-2.0
#include <natt/identity.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;

TEST_CASE("identity: every role is written the way it is read", "[spa][identity]") {
  for (const Role role : {Role::kBroker, Role::kGateway, Role::kClient}) {
    CHECK(parse_role(to_string(role)) == role);
    const Identity identity{"hq-2", role, "device-07"};
    CHECK(Identity::parse(identity.uri()) == identity);
  }
  CHECK(Identity{"hq", Role::kBroker, "b1"}.uri() == "spiffe://hq/broker/b1");
  CHECK_FALSE(parse_role("Broker"));
  CHECK_FALSE(parse_role(""));
  // What no enumerator names, as a bug of a caller would: a word that no parser takes.
  CHECK_FALSE(parse_role(to_string(static_cast<Role>(9))));
}

TEST_CASE("identity: names are 1 to 63 of a-z, 0-9 and hyphen", "[spa][identity]") {
  CHECK(is_valid_name("a"));
  CHECK(is_valid_name("z9-0"));
  CHECK(is_valid_name(std::string(63, 'x')));
  CHECK_FALSE(is_valid_name(""));
  CHECK_FALSE(is_valid_name(std::string(64, 'x')));
  // The neighbours of each range in ASCII, and what URIs are made of.
  for (const char c : {'`', '{', '/', ':', '.', '_', 'A', 'Z', ' ', '%', '@', '?', '#', '\0', '\x7f', '\xe4'}) {
    CAPTURE(static_cast<int>(c));
    CHECK_FALSE(is_valid_name(std::string("a") + c));
  }
}

TEST_CASE("identity: anything but the canonical form is refused", "[spa][identity]") {
  for (const char* uri : {"", "spiffe://", "spiffe://hq", "spiffe://hq/", "spiffe://hq/client", "spiffe://hq/client/",
                          "spiffe:///client/alice", "spiffe://hq//alice", "spiffe://hq/admin/alice", "spiffe://hq/client/alice/",
                          "spiffe://hq/client/alice/x", "spiffe://HQ/client/alice", "spiffe://hq/client/Alice",
                          "SPIFFE://hq/client/alice", "http://hq/client/alice", "spiffe://hq:443/client/alice",
                          "spiffe://hq/client/alice?x=1", " spiffe://hq/client/alice"}) {
    CAPTURE(uri);
    CHECK_FALSE(Identity::parse(uri));
  }
  const std::string whole = "spiffe://hq/client/alice";
  for (std::size_t size = 0; size < whole.size() - 4; ++size) CHECK_FALSE(Identity::parse(whole.substr(0, size)));
  CHECK_FALSE(Identity::parse("spiffe://" + std::string(64, 's') + "/client/alice"));
  CHECK_FALSE(Identity::parse("spiffe://hq/client/" + std::string(64, 'n')));
}
