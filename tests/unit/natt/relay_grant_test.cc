// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_grant.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "support/seeded_random.h"

using namespace natt;
using namespace std::chrono_literals;

namespace {

const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kBob{"hq", Role::kClient, "bob"};
const Identity kGateway{"hq", Role::kGateway, "gw1"};
constexpr WallTime kNow{1'700'000'000'000ms};

struct Fixture {
  test::SeededRandom random{test::test_seed()};
  RelayKey broker_key{std::span<const std::uint8_t, 32>(random.bytes<32>())};
  GrantSealer sealer{broker_key};
};

}  // namespace

TEST_CASE("relay grant: says to its sealer what was granted", "[natt][relay]") {
  Fixture f;
  const auto pair = f.sealer.issue(f.random, kAlice, kGateway, std::nullopt, kNow);
  REQUIRE(pair);

  const auto client = f.sealer.open(pair->client.sealed);
  const auto gateway = f.sealer.open(pair->gateway.sealed);
  REQUIRE(client);
  REQUIRE(gateway);

  CHECK(client->side == RelaySide::kClient);
  CHECK(gateway->side == RelaySide::kGateway);
  for (const auto& claims : {*client, *gateway}) {
    CHECK(claims.session == pair->client.session);
    CHECK(claims.client == kAlice);
    CHECK(claims.gateway == kGateway);
    CHECK(claims.issued == kNow);
    CHECK(claims.expires == kNow + 5min);
  }
  CHECK(pair->client.expires == kNow + 5min);
  CHECK(f.sealer.leg_key(*client) == pair->client.key);
  CHECK(f.sealer.leg_key(*gateway) == pair->gateway.key);
  CHECK_FALSE(pair->client.key == pair->gateway.key);
}

TEST_CASE("relay grant: survives a restart of the broker with its key, not with another", "[natt][relay]") {
  Fixture f;
  const auto pair = f.sealer.issue(f.random, kAlice, kGateway, std::nullopt, kNow);
  REQUIRE(pair);

  CHECK(GrantSealer(f.broker_key).open(pair->client.sealed));
  const RelayKey other{std::span<const std::uint8_t, 32>(f.random.bytes<32>())};
  CHECK_FALSE(GrantSealer(other).open(pair->client.sealed));
}

TEST_CASE("relay grant: every flipped bit, truncation and extension is refused", "[natt][relay]") {
  Fixture f;
  ByteBuffer sealed = f.sealer.issue(f.random, kAlice, kGateway, std::nullopt, kNow)->client.sealed;
  REQUIRE(f.sealer.open(sealed));

  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    if (f.sealer.open(sealed)) FAIL("bit " << bit);
    sealed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    if (f.sealer.open(ByteView(sealed).first(size))) FAIL("size " << size);
  }
  sealed.push_back(0);
  CHECK_FALSE(f.sealer.open(sealed));
  CHECK_FALSE(f.sealer.open(ByteBuffer(4096, 0)));
}

TEST_CASE("relay grant: renewing keeps session and keys", "[natt][relay]") {
  Fixture f;
  const auto first = f.sealer.issue(f.random, kAlice, kGateway, std::nullopt, kNow);
  const auto renewed = f.sealer.issue(f.random, kAlice, kGateway, first->client.session, kNow + 3min);

  CHECK(renewed->client.session == first->client.session);
  CHECK(renewed->client.key == first->client.key);
  CHECK(renewed->gateway.key == first->gateway.key);
  CHECK(renewed->client.expires == kNow + 8min);
  CHECK(renewed->client.sealed != first->client.sealed);
}

TEST_CASE("relay grant: somebody else's session id does not give their keys", "[natt][relay]") {
  Fixture f;
  const auto alice = f.sealer.issue(f.random, kAlice, kGateway, std::nullopt, kNow);
  const auto bob = f.sealer.issue(f.random, kBob, kGateway, alice->client.session, kNow);

  CHECK_FALSE(bob->client.key == alice->client.key);
  CHECK_FALSE(bob->gateway.key == alice->gateway.key);
}

TEST_CASE("relay grant: only a client and a gateway of one site get one", "[natt][relay]") {
  Fixture f;
  const auto code = [&](const Identity& client, const Identity& gateway) {
    const auto pair = f.sealer.issue(f.random, client, gateway, std::nullopt, kNow);
    return pair ? std::error_code{} : pair.error().code;
  };
  CHECK(code(kAlice, kGateway) == std::error_code{});
  CHECK(code(kGateway, kAlice) == Errc::kMalformed);
  CHECK(code(kAlice, kBob) == Errc::kMalformed);
  CHECK(code(kAlice, {"other", Role::kGateway, "gw1"}) == Errc::kMalformed);
  CHECK(code({"hq", Role::kClient, "Not Valid"}, kGateway) == Errc::kMalformed);
}

TEST_CASE("relay grant: the longest names fit", "[natt][relay]") {
  Fixture f;
  const std::string longest(63, 'x');
  const auto pair = f.sealer.issue(f.random, {longest, Role::kClient, longest}, {longest, Role::kGateway, longest},
                                   std::nullopt, kNow);
  REQUIRE(pair);
  CHECK(pair->client.sealed.size() <= kRelayGrantMaximum);
  CHECK(f.sealer.open(pair->client.sealed));
}
