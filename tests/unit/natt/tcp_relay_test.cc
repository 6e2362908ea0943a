// SPDX-License-Identifier: Apache-2.0
// Which connections the TCP relay pairs (docs/WIRE.md 6.5): each event in each state, in memory.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include <natt/errc.h>
#include <natt/tcp_relay.h>

#include "relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

constexpr RelaySessionId kSession{1, 2, 3};
constexpr RelaySessionId kOther{9};
const Identity kElsewhere{"other", Role::kGateway, "gw1"};

struct World {
  explicit World(RelayServerOptions quotas = {}, TcpRelayOptions options = {})
      : server(quotas, RelayKey{}, random), relay(options, server.accounts(), random) {}

  SeededRandom random{test_seed()};
  RelayServer server;
  TcpRelay relay;
  Instant now{1h};
  std::uint64_t next = 1;
  std::vector<TcpLegId> dropped;
  std::vector<TcpRelayPaired> paired;
  std::vector<TcpPairId> ended;

  void take_events() {
    while (auto event = relay.poll_event()) {
      if (auto* pair = std::get_if<TcpRelayPaired>(&*event)) paired.push_back(std::move(*pair));
      if (const auto* leg = std::get_if<TcpRelayLegDropped>(&*event)) dropped.push_back(leg->leg);
      if (const auto* pair = std::get_if<TcpRelayPairEnded>(&*event)) ended.push_back(pair->pair);
    }
  }
  TcpRelayTokens issue(const RelaySessionId& session = kSession, const Identity& client = kAlice) {
    const auto tokens = relay.issue(now, client, kGateway, session);
    REQUIRE(tokens);
    take_events();
    return *tokens;
  }
  // A connection that has shown its token; absent when it was refused.
  std::optional<TcpLegId> attempt(const Identity& who, const TcpRelayToken& token) {
    const TcpLegId leg{next++};
    const bool taken = relay.handle_join(now, leg, who, address("192.0.2.1:" + std::to_string(next)), token);
    take_events();
    return taken ? std::optional(leg) : std::nullopt;
  }
  bool say(TcpLegId leg, ByteView bytes) {
    const bool more = relay.handle_bytes(now, leg, bytes);
    take_events();
    return more;
  }
  TcpLegId join(const Identity& who, const TcpRelayToken& token) {
    const auto leg = attempt(who, token);
    REQUIRE(leg);
    say(*leg, kRelayJoinConfirmation);
    return *leg;
  }
  TcpPairId pair(const RelaySessionId& session = kSession, const Identity& client = kAlice) {
    const TcpRelayTokens tokens = issue(session, client);
    join(client, tokens.client);
    join(kGateway, tokens.gateway);
    REQUIRE(!paired.empty());
    return paired.back().pair;
  }
  bool was_dropped(TcpLegId leg) const { return std::find(dropped.begin(), dropped.end(), leg) != dropped.end(); }
  void wait(Duration time) {
    now += time;
    relay.handle_timeout(now);
    take_events();
  }
};

}  // namespace

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

TEST_CASE("tcp relay: new tokens replace those that nobody has used", "[natt][tcp_relay]") {
  World world;
  const TcpRelayTokens before = world.issue();
  SECTION("of both ends") {
    const TcpLegId attempt = *world.attempt(kAlice, before.client);
    const TcpRelayTokens after = world.issue();
    CHECK(world.was_dropped(attempt));
    CHECK_FALSE(world.attempt(kAlice, before.client));
    CHECK_FALSE(world.attempt(kGateway, before.gateway));
    CHECK(world.relay.stats().replaced_token == 2);
    world.join(kAlice, after.client);
    world.join(kGateway, after.gateway);
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

TEST_CASE("tcp relay: a session id belongs to the two devices that have it", "[natt][tcp_relay]") {
  World world;
  static_cast<void>(world.issue());
  const auto taken = world.relay.issue(world.now, kBob, kGateway, kSession);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == make_error_code(Errc::kWrongIdentity));
  for (const auto& [client, gateway] : std::vector<std::pair<Identity, Identity>>{
           {kGateway, kAlice}, {kAlice, kBob}, {kGateway, kGateway}, {kAlice, kElsewhere}}) {
    const auto wrong = world.relay.issue(world.now, client, gateway, kOther);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == make_error_code(Errc::kMalformed));
  }
  // Another site may use the same one.
  CHECK(world.relay.issue(world.now, {"other", Role::kClient, "alice"}, kElsewhere, kSession));
}

TEST_CASE("tcp relay: quotas of sessions count what is issued, over UDP and TCP together", "[natt][tcp_relay]") {
  const auto refused = [](World& world, const RelaySessionId& session, const Identity& client) {
    const auto tokens = world.relay.issue(world.now, client, kGateway, session);
    return !tokens && tokens.error().code == make_error_code(Errc::kLimit);
  };
  SECTION("of a client") {
    World world({.per_client = {.sessions = 1}, .per_site = {}, .broker = {}});
    static_cast<void>(world.issue());
    CHECK(refused(world, kOther, kAlice));
    CHECK_FALSE(refused(world, kOther, kBob));
    static_cast<void>(world.issue());  // the session has its seat
    world.wait(10s);                   // and gives it back
    CHECK_FALSE(refused(world, kOther, kAlice));
  }
  SECTION("of a site") {
    World world({.per_client = {}, .per_site = {.sessions = 1}, .broker = {}});
    world.pair();
    CHECK(refused(world, kOther, kBob));
    world.wait(1h);
    CHECK(refused(world, kOther, kBob));
    world.relay.handle_pair_ended(world.now, world.paired[0].pair);
    CHECK_FALSE(refused(world, kOther, kBob));
  }
  SECTION("of the broker") {
    World world({.per_client = {}, .per_site = {}, .broker = {.sessions = 2}});
    static_cast<void>(world.issue());
    static_cast<void>(world.issue(kOther, kBob));
    CHECK(refused(world, {5}, {"hq", Role::kClient, "carol"}));
  }
  SECTION("a session over UDP has a seat too") {
    RelayWorld udp({.per_client = {.sessions = 1}, .per_site = {}, .broker = {}});
    TcpRelay tcp({}, udp.server->accounts(), udp.random);
    REQUIRE(tcp.issue(udp.now, kAlice, kGateway, kSession));
    const auto end = udp.make_end(udp.grant().client, "192.0.2.7:1000");
    end->leg.start(udp.now, udp.wall);
    while (auto bind = end->leg.poll_transmit()) {
      MutableBytes train = bind->bytes;
      static_cast<void>(udp.server->handle_train(udp.now, udp.wall, end->source, udp.relay.ip, train, 0));
    }
    CHECK(udp.server->stats().over_quota == 1);
    CHECK(tcp.end_session(udp.now, "hq", kSession));
  }
}

TEST_CASE("tcp relay: thresholds and load see sessions that are paired, and their traffic", "[natt][tcp_relay]") {
  World world({.per_client = {}, .per_site = {}, .broker = {}, .sessions_threshold = 1, .throughput_threshold = 8000});
  static_cast<void>(world.issue(kOther));
  CHECK(world.server.load().sessions == 0);
  const TcpPairId pair = world.pair();
  CHECK_FALSE(world.server.load().above_sessions_threshold);
  world.pair({4});
  CHECK(world.server.load().above_sessions_threshold);

  for (int second = 0; second < 5; ++second) {
    world.relay.handle_forwarded(pair, RelaySide::kClient, 2000);
    REQUIRE(world.relay.next_deadline());
    world.wait(1s);
  }
  CHECK(world.server.load().bits_per_second == 16'000);
  CHECK(world.server.load().above_throughput_threshold);
  CHECK(world.relay.stats().bytes_forwarded == 10'000);
}

TEST_CASE("tcp relay: a rate quota gives less, then nothing, then more with time", "[natt][tcp_relay]") {
  World world({.per_client = {.bits_per_second = 8'000'000}, .per_site = {}, .broker = {}});
  const TcpPairId pair = world.pair();
  std::size_t taken = 0;
  for (std::size_t got = 1; got > 0; taken += got) got = world.relay.take_allowance(world.now, pair, 65'536);
  // A bucket holds at least 256 KiB, and less than a packet is not worth a turn.
  CHECK(taken <= 256 * 1024);
  CHECK(taken > 256 * 1024 - 1500);
  CHECK(world.relay.stats().over_rate == 1);
  world.now += 10ms;
  CHECK(world.relay.take_allowance(world.now, pair, 65'536) >= 1500);
  world.relay.give_back(pair, 100'000);
  CHECK(world.relay.take_allowance(world.now, pair, 65'536) == 65'536);
  CHECK(world.relay.take_allowance(world.now, TcpPairId{99}, 65'536) == 0);
}

TEST_CASE("tcp relay: without quotas everything passes", "[natt][tcp_relay]") {
  World world;
  const TcpPairId pair = world.pair();
  for (int i = 0; i < 1000; ++i) CHECK(world.relay.take_allowance(world.now, pair, 65'536) == 65'536);
  CHECK(world.relay.take_allowance(world.now, pair, 1) == 1);
}

TEST_CASE("tcp relay: connections that are not paired are bounded", "[natt][tcp_relay]") {
  World world({}, {.max_unpaired = 3});
  const TcpRelayTokens tokens = world.issue();
  for (int i = 0; i < 3; ++i) REQUIRE(world.attempt(kAlice, tokens.client));
  CHECK_FALSE(world.attempt(kGateway, tokens.gateway));
  CHECK(world.relay.stats().crowded == 1);
  CHECK(world.relay.unpaired() == 3);
}

TEST_CASE("tcp relay: words about what is not there change nothing", "[natt][tcp_relay]") {
  World world;
  const TcpPairId none{77};
  world.relay.handle_forwarded(none, RelaySide::kClient, 5);
  world.relay.handle_pair_ended(world.now, none);
  world.relay.give_back(none, 5);
  world.relay.handle_disconnected(world.now, TcpLegId{5});
  CHECK_FALSE(world.say(TcpLegId{5}, kRelayJoinConfirmation));
  CHECK(world.relay.room_of(TcpLegId{5}) == 0);
  CHECK(world.relay.revoke(world.now, kAlice) == 0);
  world.wait(1h);
  CHECK_FALSE(world.relay.next_deadline());
  CHECK(world.relay.stats().bytes_forwarded == 0);
}

TEST_CASE("tcp relay: a report has both ways, both addresses and the time", "[natt][tcp_relay]") {
  World world;
  const TcpPairId pair = world.pair();
  const Instant since = world.now;
  world.relay.handle_forwarded(pair, RelaySide::kClient, 10);
  world.relay.handle_forwarded(pair, RelaySide::kGateway, 30);
  world.wait(5s);
  const auto reports = world.relay.sessions();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].session == kSession);
  CHECK(reports[0].client == kAlice);
  CHECK(reports[0].gateway == kGateway);
  CHECK(reports[0].client_address == address("192.0.2.1:2"));
  CHECK(reports[0].gateway_address == address("192.0.2.1:3"));
  CHECK(reports[0].bytes_from_client == 10);
  CHECK(reports[0].bytes_from_gateway == 30);
  CHECK(reports[0].since == since);
  CHECK(reports[0].transport == RelayTransport::kTcp);
}
