// SPDX-License-Identifier: Apache-2.0
// How long tokens, legs and pairs of the TCP relay live, and what ends or replaces them (docs/WIRE.md 6.5).
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include "tcp_relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using World = TcpRelayWorld;

TEST_CASE("tcp relay: tokens live ten seconds", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  REQUIRE(world.relay.next_deadline() == world.now + 10s);
  SECTION("in time") {
    world.wait(10s - 1ns);
    world.join(kAlice, tokens.client);
    world.join(kGateway, tokens.gateway);
    CHECK(world.paired.size() == 1);
  }
  SECTION("late, even if no timer has fired") {
    world.now += 10s;
    CHECK_FALSE(world.attempt(kAlice, tokens.client));
    CHECK(world.relay.stats().expired_token == 1);
    CHECK_FALSE(world.relay.next_deadline());
  }
  SECTION("a connection without its confirmation") {
    const TcpLegId leg = *world.attempt(kAlice, tokens.client);
    world.wait(10s);
    CHECK(world.was_dropped(leg));
    CHECK(world.relay.stats().unconfirmed == 1);
  }
  SECTION("a leg whose other end does not come") {
    const TcpLegId leg = world.join(kAlice, tokens.client);
    world.wait(10s);
    CHECK(world.was_dropped(leg));
    CHECK(world.relay.stats().left_alone == 1);
    CHECK_FALSE(world.attempt(kGateway, tokens.gateway));
    CHECK(world.relay.stats().expired_token == 1);
  }
  SECTION("not after it was paired") {
    world.join(kAlice, tokens.client);
    world.join(kGateway, tokens.gateway);
    world.wait(1h);
    CHECK(world.ended.empty());
    CHECK(world.server.load().sessions == 1);
  }
}

TEST_CASE("tcp relay: what became of a token is told for a minute", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  world.wait(10s);
  CHECK_FALSE(world.attempt(kAlice, tokens.client));
  CHECK(world.relay.stats().expired_token == 1);
  world.wait(TcpRelay::kRememberTokens);
  // Looked at when the next token ends.
  static_cast<void>(world.issue(kOther));
  world.wait(10s);
  CHECK_FALSE(world.attempt(kAlice, tokens.client));
  CHECK(world.relay.stats().unknown_token == 1);
}

TEST_CASE("tcp relay: new tokens stand beside those that nobody has used", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens before = world.issue();
  SECTION("each end with whichever it has heard of") {
    const TcpLegId attempt = *world.attempt(kAlice, before.client);
    world.wait(3s);
    const TcpRelayTokens after = world.issue();
    CHECK_FALSE(world.was_dropped(attempt));
    const bool newer = GENERATE(false, true);
    world.join(kGateway, newer ? after.gateway : before.gateway);
    world.say(attempt, kRelayJoinConfirmation);
    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].client == attempt);
  }
  SECTION("for one place: the leg that joins uses both up") {
    const TcpRelayTokens after = world.issue();
    const TcpLegId late = *world.attempt(kAlice, after.client);
    const TcpLegId leg = world.join(kAlice, before.client);
    CHECK(world.was_dropped(late));
    CHECK_FALSE(world.attempt(kAlice, before.client));
    CHECK_FALSE(world.attempt(kAlice, after.client));
    CHECK(world.relay.stats().used_token == 2);
    CHECK_FALSE(world.was_dropped(leg));
    world.join(kGateway, after.gateway);
    CHECK_FALSE(world.attempt(kGateway, before.gateway));
  }
  SECTION("two at most: of three the oldest goes") {
    const TcpLegId first = *world.attempt(kAlice, before.client);
    const TcpRelayTokens second = world.issue();
    const TcpLegId stays = *world.attempt(kAlice, second.client);
    static_cast<void>(world.issue());
    CHECK(world.was_dropped(first));
    CHECK_FALSE(world.was_dropped(stays));
    CHECK_FALSE(world.attempt(kAlice, before.client));
    CHECK_FALSE(world.attempt(kGateway, before.gateway));
    CHECK(world.relay.stats().replaced_token == 2);
    world.join(kGateway, second.gateway);
    world.say(stays, kRelayJoinConfirmation);
    CHECK(world.paired.size() == 1);
  }
  SECTION("a leg that waits stays, and lives as long as the new ones") {
    const TcpLegId waiting = world.join(kGateway, before.gateway);
    world.wait(9s);
    const TcpRelayTokens after = world.issue();
    world.wait(9s);
    CHECK(world.dropped.empty());
    world.join(kAlice, after.client);
    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].gateway == waiting);
    // The gateway's new token has no use any more.
    CHECK_FALSE(world.attempt(kGateway, after.gateway));
  }
  SECTION("until its end joins anew") {
    const TcpLegId waiting = world.join(kGateway, before.gateway);
    const TcpRelayTokens after = world.issue();
    const TcpLegId newer = world.join(kGateway, after.gateway);
    CHECK(world.was_dropped(waiting));
    world.join(kAlice, after.client);
    REQUIRE(world.paired.size() == 1);
    CHECK(world.paired[0].gateway == newer);
  }
  CHECK(world.server.load().sessions == 1);
}

TEST_CASE("tcp relay: tokens end one by one, and the connections that showed them", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens before = world.issue();
  world.wait(4s);
  const TcpRelayTokens after = world.issue();
  const TcpLegId early = *world.attempt(kAlice, before.client);
  const TcpLegId late = *world.attempt(kAlice, after.client);
  CHECK(world.relay.next_deadline() == world.now + 6s);
  world.wait(6s);
  CHECK(world.dropped == std::vector{early});
  CHECK_FALSE(world.attempt(kGateway, before.gateway));
  CHECK(world.relay.stats().expired_token == 1);
  CHECK(world.relay.next_deadline() == world.now + 4s);
  world.wait(4s - 1ns);
  CHECK_FALSE(world.was_dropped(late));
  world.wait(1ns);
  CHECK(world.was_dropped(late));
  CHECK_FALSE(world.relay.next_deadline());
}

TEST_CASE("tcp relay: a paired session stays until its ends have joined anew", "[natt][tcp_relay]") {
  World world;
  const TcpPairId before = world.pair();
  const TcpRelayTokens after = world.issue();
  world.join(kAlice, after.client);
  CHECK(world.ended.empty());
  SECTION("and is replaced then") {
    world.join(kGateway, after.gateway);
    CHECK(world.ended == std::vector{before});
    CHECK(world.paired.size() == 2);
    // The driver's word about the former one comes late.
    world.relay.handle_pair_ended(world.now, before);
  }
  SECTION("or goes on when they do not") {
    world.wait(10s);
    CHECK(world.ended.empty());
    CHECK(world.relay.stats().left_alone == 1);
  }
  CHECK(world.server.load().sessions == 1);
  CHECK(world.relay.sessions().size() == 1);
}

TEST_CASE("tcp relay: the end of a pair while its ends join anew leaves the tokens", "[natt][tcp_relay]") {
  World world;
  const TcpPairId before = world.pair();
  const TcpRelayTokens after = world.issue();
  world.relay.handle_pair_ended(world.now, before);
  CHECK(world.server.load().sessions == 0);
  world.join(kAlice, after.client);
  world.join(kGateway, after.gateway);
  CHECK(world.paired.size() == 2);
  CHECK(world.server.load().sessions == 1);
}

TEST_CASE("tcp relay: a waiting leg that goes leaves its session to new tokens", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens tokens = world.issue();
  const TcpLegId leg = world.join(kAlice, tokens.client);
  world.relay.handle_disconnected(world.now, leg);
  world.relay.handle_disconnected(world.now, leg);
  CHECK(world.relay.stats().left_early == 1);
  CHECK(world.relay.unpaired() == 0);
  world.join(kGateway, tokens.gateway);
  CHECK(world.paired.empty());
  CHECK_FALSE(world.attempt(kAlice, tokens.client));
  CHECK(world.relay.stats().used_token == 1);
  world.join(kAlice, world.issue().client);
  CHECK(world.paired.size() == 1);
}

TEST_CASE("tcp relay: revocation ends everything of an identity at once", "[natt][tcp_relay]") {
  World world;
  const TcpPairId pair = world.pair();
  const TcpRelayTokens waiting = world.issue(kOther);
  const TcpLegId attempt = *world.attempt(kAlice, waiting.client);
  const TcpLegId joined = world.join(kGateway, waiting.gateway);
  const TcpPairId others = world.pair({7}, kBob);
  const Identity revoked = GENERATE(false, true) ? kGateway : kAlice;

  const std::size_t ended = world.relay.revoke(world.now, revoked);
  world.take_events();

  CHECK(ended == (revoked == kGateway ? 2U : 1U));
  CHECK(std::find(world.ended.begin(), world.ended.end(), pair) != world.ended.end());
  CHECK(world.was_dropped(attempt));
  CHECK(world.was_dropped(joined));
  CHECK(world.relay.unpaired() == 0);
  CHECK_FALSE(world.attempt(kAlice, waiting.client));
  CHECK(world.relay.stats().revoked_token == 1);
  const bool bob_stays = revoked == kAlice;
  CHECK(world.relay.sessions().size() == (bob_stays ? 1U : 0U));
  CHECK((std::find(world.ended.begin(), world.ended.end(), others) == world.ended.end()) == bob_stays);
}

TEST_CASE("tcp relay: a session that signaling ends takes pair, legs and tokens with it", "[natt][tcp_relay]") {
  World world;
  const TcpPairId pair = world.pair();
  const TcpRelayTokens again = world.issue();
  const TcpLegId joined = world.join(kAlice, again.client);
  CHECK_FALSE(world.relay.end_session(world.now, "other", kSession));
  CHECK_FALSE(world.relay.end_session(world.now, "hq", kOther));

  CHECK(world.relay.end_session(world.now, "hq", kSession));
  world.take_events();

  CHECK(world.ended == std::vector{pair});
  CHECK(world.was_dropped(joined));
  CHECK_FALSE(world.attempt(kGateway, again.gateway));
  CHECK(world.relay.stats().revoked_token == 1);
  CHECK(world.server.load().sessions == 0);
  CHECK_FALSE(world.relay.end_session(world.now, "hq", kSession));
}

TEST_CASE("tcp relay: a pair's beginning and end are told in words", "[natt][tcp_relay]") {
  std::vector<std::string> lines;
  World world({}, {.log = {.write = [](void* context, LogLevel, std::string_view line) {
                             static_cast<std::vector<std::string>*>(context)->emplace_back(line);
                           },
                           .context = &lines}});

  world.pair();
  REQUIRE(world.relay.revoke(world.now, kAlice) == 1);

  const std::string who = "client=" + kAlice.uri() + " gateway=" + kGateway.uri() + " transport=tcp";
  CHECK(lines == std::vector<std::string>{
                     "natt.relay.session " + who,
                     "natt.relay.session_end " + who + " reason=revoked bytes_from_client=0 bytes_from_gateway=0"});
}
