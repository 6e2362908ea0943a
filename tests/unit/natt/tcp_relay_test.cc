// SPDX-License-Identifier: Apache-2.0
// Which connections the TCP relay pairs (docs/WIRE.md 6.5): each event in each state, in memory.
#include <catch2/catch_test_macros.hpp>

#include "tcp_relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using World = TcpRelayWorld;

TEST_CASE("tcp relay: two ends with their tokens are paired, whoever comes first", "[natt][tcp_relay]") {
  for (const bool client_first : {true, false}) {
    World world;
    const TcpRelayTokens tokens = world.issue();
    const TcpLegId first = client_first ? world.join(kAlice, tokens.client) : world.join(kGateway, tokens.gateway);
    CHECK(world.paired.empty());
    CHECK(world.server.load().sessions == 0);
    const TcpLegId second = client_first ? world.join(kGateway, tokens.gateway) : world.join(kAlice, tokens.client);

    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].client == (client_first ? first : second));
    CHECK(world.paired[0].gateway == (client_first ? second : first));
    CHECK(world.relay.unpaired() == 0);
    CHECK(world.server.load().sessions == 1);
    CHECK(world.relay.stats().legs_joined == 2);
    CHECK(world.dropped.empty());
  }
}

TEST_CASE("tcp relay: the tokens of a session differ and nothing derives one from the other", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  CHECK(tokens.client != tokens.gateway);
  CHECK(world.issue(kOther).client != tokens.client);
  CHECK(world.relay.stats().tokens_issued == 4);
}

TEST_CASE("tcp relay: every flipped bit of a token makes it unknown", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  for (std::size_t bit = 0; bit < tokens.client.size() * 8; ++bit) {
    TcpRelayToken wrong = tokens.client;
    wrong[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    CHECK_FALSE(world.attempt(kAlice, wrong));
  }
  CHECK(world.relay.stats().unknown_token == 128);
  CHECK(world.relay.unpaired() == 0);
  CHECK(world.attempt(kAlice, tokens.client));
}

TEST_CASE("tcp relay: a token is for one identity and one side", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  CHECK_FALSE(world.attempt(kBob, tokens.client));
  CHECK_FALSE(world.attempt(kGateway, tokens.client));
  CHECK_FALSE(world.attempt(kAlice, tokens.gateway));
  CHECK_FALSE(world.attempt(kElsewhere, tokens.gateway));
  CHECK(world.relay.stats().wrong_identity == 4);
  // And is not used up by it.
  world.join(kAlice, tokens.client);
  world.join(kGateway, tokens.gateway);
  CHECK(world.paired.size() == 1);
}

TEST_CASE("tcp relay: the losers of a race do not use the token up, in any order", "[natt][tcp_relay]") {
  for (std::size_t winner = 0; winner < 4; ++winner) {
    World world;
    const TcpRelayTokens tokens = world.issue();
    world.join(kGateway, tokens.gateway);
    std::vector<TcpLegId> race;
    for (int i = 0; i < 4; ++i) race.push_back(*world.attempt(kAlice, tokens.client));
    CHECK(world.paired.empty());

    world.say(race[winner], kRelayJoinConfirmation);

    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].client == race[winner]);
    CHECK(world.dropped.size() == 3);
    CHECK_FALSE(world.was_dropped(race[winner]));
    CHECK(world.relay.stats().unconfirmed == 3);
    // One that arrives late.
    CHECK_FALSE(world.attempt(kAlice, tokens.client));
    CHECK(world.relay.stats().used_token == 1);
  }
}

TEST_CASE("tcp relay: a loser that is gone leaves the others", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  const TcpLegId loser = *world.attempt(kAlice, tokens.client);
  const TcpLegId winner = *world.attempt(kAlice, tokens.client);
  world.relay.handle_disconnected(world.now, loser);
  world.say(winner, kRelayJoinConfirmation);
  world.join(kGateway, tokens.gateway);
  REQUIRE(world.paired.size() == 1);
  CHECK(world.paired[0].client == winner);
  CHECK(world.relay.stats().unconfirmed == 1);
  CHECK(world.relay.stats().left_early == 0);
}

TEST_CASE("tcp relay: of too many connections with one token the oldest goes", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  const TcpLegId oldest = *world.attempt(kAlice, tokens.client);
  for (std::size_t i = 1; i < TcpRelay::kMaxAttempts; ++i) REQUIRE(world.attempt(kAlice, tokens.client));
  CHECK(world.dropped.empty());
  const auto newest = world.attempt(kAlice, tokens.client);
  REQUIRE(newest);
  CHECK(world.dropped == std::vector{oldest});
  CHECK(world.relay.unpaired() == TcpRelay::kMaxAttempts);
}

TEST_CASE("tcp relay: the confirmation comes in any pieces, and is not passed on", "[natt][tcp_relay]") {
  const ByteBuffer hello{0x16, 0x03, 0x01, 0x00};
  ByteBuffer all(kRelayJoinConfirmation.begin(), kRelayJoinConfirmation.end());
  all.insert(all.end(), hello.begin(), hello.end());
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    World world;
    const TcpRelayTokens tokens = world.issue();
    const TcpLegId leg = *world.attempt(kAlice, tokens.client);
    CHECK(world.say(leg, ByteView(all).first(cut)));
    CHECK(world.relay.stats().legs_joined == (cut >= kRelayJoinConfirmation.size() ? 1U : 0U));
    CHECK(world.say(leg, ByteView(all).subspan(cut)));
    world.join(kGateway, tokens.gateway);
    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].early_from_client == hello);
    CHECK(world.paired[0].early_from_gateway.empty());
  }
}

TEST_CASE("tcp relay: what is no confirmation ends the connection, not the token", "[natt][tcp_relay]") {
  for (std::size_t bit = 0; bit < kRelayJoinConfirmation.size() * 8; ++bit) {
    World world;
    const TcpRelayTokens tokens = world.issue();
    const TcpLegId leg = *world.attempt(kAlice, tokens.client);
    auto wrong = kRelayJoinConfirmation;
    wrong[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    CHECK_FALSE(world.say(leg, wrong));
    CHECK(world.was_dropped(leg));
    CHECK(world.relay.stats().unconfirmed == 1);
    CHECK_FALSE(world.say(leg, kRelayJoinConfirmation));  // of a leg that is gone
    world.join(kAlice, tokens.client);
  }
}

TEST_CASE("tcp relay: at most 16 KiB of a leg are kept before it is paired", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  const TcpLegId leg = world.join(kAlice, tokens.client);
  CHECK(world.relay.room_of(leg) == TcpRelay::kMaxEarlyBytes);
  const ByteBuffer nearly(TcpRelay::kMaxEarlyBytes - 1, 7);
  CHECK(world.say(leg, nearly));
  CHECK(world.relay.room_of(leg) == 1);
  SECTION("full: it is not read any more, and paired later") {
    CHECK_FALSE(world.say(leg, ByteBuffer{8}));
    CHECK(world.relay.room_of(leg) == 0);
    CHECK(world.dropped.empty());
    world.join(kGateway, tokens.gateway);
    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].early_from_client.size() == TcpRelay::kMaxEarlyBytes);
    CHECK(world.paired[0].early_from_client.back() == 8);
  }
  SECTION("one octet more is too much") {
    CHECK_FALSE(world.say(leg, ByteBuffer{8, 9}));
    CHECK(world.was_dropped(leg));
    CHECK(world.relay.stats().crowded == 1);
  }
}
