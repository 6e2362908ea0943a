// SPDX-License-Identifier: Apache-2.0
// Who gets a leg, and from where: strangers, replays and spoofed sources.
#include <natt/relay_server.h>

#include <catch2/catch_test_macros.hpp>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("relay server: strangers get no answer and leave no session", "[natt][relay]") {
  RelayWorld world;
  const auto silent = [&](ByteBuffer datagram) {
    CHECK_FALSE(world.give(address("203.0.113.66:1"), datagram));
    CHECK_FALSE(world.server->poll_transmit());
    CHECK(world.server->load().sessions == 0);
  };
  const RelayGrantPair pair = world.grant();

  silent({0x0c});
  silent(ByteBuffer(13, 0x0c));
  silent(ByteBuffer(500, 0x0c));
  silent(ByteBuffer(500, 0x00));
  ByteBuffer frame = make_bind(pair.client, 1, world.wall);
  frame.back() ^= 1;
  silent(frame);
  CHECK(world.server->stats().bad_mac == 1);
  frame = make_bind(pair.client, 1, world.wall);
  frame[40] ^= 1;
  silent(frame);
  CHECK(world.server->stats().bad_grant == 1);
  RelayGrant stolen = pair.client;
  stolen.key = pair.gateway.key;
  silent(make_bind(stolen, 1, world.wall));
  CHECK(world.server->stats().bad_mac == 2);
  for (const RelayKind kind : {RelayKind::kEcho, RelayKind::kKeepalive, RelayKind::kClose, RelayKind::kChallenge,
                               RelayKind::kBound, RelayKind::kClosed}) {
    RelayControl control;
    control.header = {kind, {0, 12345}};
    silent(serialize_relay_control(control, pair.client.key));
  }
  CHECK(world.server->stats().unknown_leg == 3);
}

TEST_CASE("relay server: no answer is longer than what caused it", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  session.client->source = address("203.0.113.1:4444");
  world.pass(1s);
  session.client->leg.rebind(world.now, world.wall);
  world.settle();
  world.pass(20s);  // keepalives

  std::size_t shortest_request = 1000;
  std::size_t longest_reply = 0;
  for (const auto& [from, bytes] : world.sent) shortest_request = std::min(shortest_request, bytes.size());
  for (const Transmit& reply : world.replies) longest_reply = std::max(longest_reply, reply.bytes.size());
  CHECK(longest_reply == 46);
  CHECK(shortest_request == 46);
}

TEST_CASE("relay server: a replayed bind steers nothing", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  const auto captured = world.sent;
  world.replies.clear();
  world.pass(1500ms);

  for (auto [from, bytes] : captured) {
    CHECK_FALSE(world.give(address("198.51.100.99:9999"), bytes));
  }
  world.settle();

  CHECK(world.replies.empty());
  CHECK(world.server->stats().takeovers == 0);
  ByteBuffer train = make_train(session.gateway->leg, 10, 1);
  const auto out = world.give(session.gateway->source, train);
  REQUIRE(out);
  CHECK(out->to == session.client->source);
}

TEST_CASE("relay server: a fresh bind from a spoofed source is challenged there, and changes nothing",
          "[natt][relay]") {
  RelayWorld world;
  const RelayGrantPair pair = world.grant();
  const SocketAddress home = address("203.0.113.1:4000");
  const SocketAddress victim = address("198.51.100.99:9999");
  const auto challenge_at = [&](const SocketAddress& from, std::uint64_t counter) {
    ByteBuffer bind = make_bind(pair.client, counter, world.wall);
    CHECK_FALSE(world.give(from, bind));
    const auto reply = world.server->poll_transmit();
    REQUIRE(reply);
    CHECK(reply->to == from);
    return parse_relay_control(reply->bytes).value();
  };
  ByteBuffer echo = make_echo(pair.client, challenge_at(home, 10));
  (void)world.give(home, echo);
  REQUIRE(world.server->poll_transmit());
  REQUIRE(world.server->sessions().at(0).client_address == home);

  world.now += 2s;
  const RelayControl spoofed = challenge_at(victim, 11);
  CHECK(world.server->sessions().at(0).client_address == home);

  SECTION("the echo counts only from the source that was challenged") {
    ByteBuffer elsewhere = make_echo(pair.client, spoofed);
    (void)world.give(address("198.51.100.98:9999"), elsewhere);
    (void)world.give(home, elsewhere);
    CHECK(world.server->stats().bad_cookie == 2);
    CHECK_FALSE(world.server->poll_transmit());
    CHECK(world.server->sessions().at(0).client_address == home);
  }
  SECTION("an echo that nobody with the key has made is refused") {
    RelayGrant keyless = pair.client;
    keyless.key = RelayKey{};
    ByteBuffer forged = make_echo(keyless, spoofed);
    (void)world.give(victim, forged);
    CHECK(world.server->stats().bad_mac == 1);
    CHECK(world.server->sessions().at(0).client_address == home);
  }
  SECTION("the echo of an earlier bind is out of date") {
    ByteBuffer bind = make_bind(pair.client, 12, world.wall);
    (void)world.give(home, bind);
    ByteBuffer late = make_echo(pair.client, spoofed);
    (void)world.give(victim, late);
    CHECK(world.server->stats().replayed == 1);
    CHECK(world.server->sessions().at(0).client_address == home);
  }
  SECTION("with its echo the new source takes over") {
    ByteBuffer genuine = make_echo(pair.client, spoofed);
    (void)world.give(victim, genuine);
    CHECK(world.server->stats().takeovers == 1);
    CHECK(world.server->sessions().at(0).client_address == victim);
  }
}

TEST_CASE("relay server: challenges are limited to one a second and leg", "[natt][relay]") {
  RelayWorld world;
  const RelayGrantPair pair = world.grant();
  int challenges = 0;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    ByteBuffer bind = make_bind(pair.client, i, world.wall);
    (void)world.give(address("198.51.100.99:9999"), bind);
    while (world.server->poll_transmit()) ++challenges;
    world.now += 50ms;
  }
  CHECK(challenges == 5);
  CHECK(world.server->stats().challenge_limited == 95);
}

TEST_CASE("relay server: a bind's counter has to rise and its time to be about now", "[natt][relay]") {
  RelayWorld world;
  const RelayGrantPair pair = world.grant();
  const auto bind = [&](std::uint64_t counter, WallTime time) {
    ByteBuffer frame = make_bind(pair.client, counter, time);
    (void)world.give(address("203.0.113.1:4000"), frame);
  };
  bind(5, world.wall);
  bind(5, world.wall);
  bind(4, world.wall);
  CHECK(world.server->stats().replayed == 2);
  bind(6, world.wall + 121s);
  bind(6, world.wall - 121s);
  CHECK(world.server->stats().wrong_time == 2);
  bind(6, world.wall + 119s);
  bind(7, world.wall - 119s);
  CHECK(world.server->stats().wrong_time == 2);
  CHECK(world.server->stats().replayed == 2);
}

TEST_CASE("relay server: an expired grant opens nothing", "[natt][relay]") {
  RelayWorld world;
  const RelayGrantPair pair = world.grant();
  world.wall += kRelayGrantLifetime;
  ByteBuffer bind = make_bind(pair.client, 1, world.wall);
  (void)world.give(address("203.0.113.1:4000"), bind);
  CHECK(world.server->stats().grant_expired == 1);
  CHECK(world.server->load().sessions == 0);
}

TEST_CASE("relay server: another client cannot join a session by its id", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  const RelayGrantPair bobs = world.grant(kBob, session.client->leg.session());

  ByteBuffer bind = make_bind(bobs.client, ~std::uint64_t{0}, world.wall);
  (void)world.give(address("203.0.113.66:1"), bind);

  CHECK(world.server->stats().identity_mismatch == 1);
  CHECK_FALSE(world.server->poll_transmit());
  CHECK(world.server->sessions().at(0).client_address == session.client->source);
}

TEST_CASE("relay server: the reply queue is bounded", "[natt][relay]") {
  RelayWorld world;
  for (int i = 0; i < 300; ++i) {
    ByteBuffer bind = make_bind(world.grant().client, 1, world.wall);
    (void)world.give(address("203.0.113.1:4000"), bind);
  }
  CHECK(world.server->stats().replies_dropped == 300 - RelayServer::kReplyQueueLimit);
}
