// SPDX-License-Identifier: Apache-2.0
// What the TCP relay gives to whom, and what it tells of it: quotas, bounds and reports.
#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "tcp_relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using World = TcpRelayWorld;

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
