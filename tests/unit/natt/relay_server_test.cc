// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_server.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/errc.h>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

// The control frame of a leg, made by hand.
ByteBuffer make_bind(const RelayGrant& grant, std::uint64_t counter, WallTime time) {
  RelayControl control;
  control.header.kind = RelayKind::kBind;
  control.counter = counter;
  control.time = time;
  control.grant = grant.sealed;
  return serialize_relay_control(control, grant.key);
}

ByteBuffer make_echo(const RelayGrant& grant, const RelayControl& challenge) {
  RelayControl control = challenge;
  control.header.kind = RelayKind::kEcho;
  return serialize_relay_control(control, grant.key);
}

}  // namespace

TEST_CASE("relay server: a packet goes to the other end under the other end's id, from the address it knows",
          "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  ByteBuffer train = make_train(session.client->leg, 1200, 1);

  const auto out = world.give(session.client->source, train);

  REQUIRE(out);
  CHECK(out->to == session.gateway->source);
  CHECK(out->from == world.relay.ip);
  const auto packet = session.gateway->leg.unwrap(world.relay, out->bytes);
  REQUIRE(packet);
  CHECK(ByteBuffer(packet->begin(), packet->end()) == ByteBuffer(1200, 'a'));
  CHECK(session.client->leg.header() != session.gateway->leg.header());

  ByteBuffer back = make_train(session.gateway->leg, 77, 1);
  const auto reply = world.give(session.gateway->source, back);
  REQUIRE(reply);
  CHECK(reply->to == session.client->source);
  CHECK(session.client->leg.unwrap(world.relay, reply->bytes));
}

TEST_CASE("relay server: a train is forwarded whole", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  ByteBuffer train = make_train(session.client->leg, 1200, 10);
  train.resize(train.size() - 500);  // the last one is shorter

  MutableBytes rest = train;
  const auto out =
      world.server->handle_train(world.now, world.wall, session.client->source, world.relay.ip, rest, 1214);

  REQUIRE(out);
  CHECK(rest.empty());
  CHECK(out->bytes.data() == train.data());
  CHECK(out->bytes.size() == train.size());
  for (std::size_t i = 0; i < 10; ++i) {
    const std::size_t at = i * 1214;
    const auto segment = ByteView(train).subspan(at, std::min<std::size_t>(1214, train.size() - at));
    const auto packet = session.gateway->leg.unwrap(world.relay, segment);
    REQUIRE(packet);
    CHECK((*packet)[0] == 'a' + i);
  }
  CHECK(world.server->stats().packets_forwarded == 10);
  CHECK(world.server->stats().bytes_forwarded == 9 * 1200 + 700);
}

TEST_CASE("relay server: a train of several sessions is taken apart", "[natt][relay]") {
  RelayWorld world;
  // One socket of a client that uses two gateways through one relay: the kernel makes one train of both.
  BoundSession first(world, kAlice, "203.0.113.1:4000", "192.0.2.2:5000");
  BoundSession second(world, kBob, "203.0.113.1:4000", "192.0.2.3:5000");
  ByteBuffer train = make_train(first.client->leg, 100, 2);
  const ByteBuffer middle = make_train(second.client->leg, 100, 3);
  train.insert(train.end(), middle.begin(), middle.end());
  train.insert(train.end(), 114, 0x0c);  // a stranger's
  const ByteBuffer last = make_train(first.client->leg, 50, 1);
  train.insert(train.end(), last.begin(), last.end());

  MutableBytes rest = train;
  std::vector<RelayForward> out;
  int calls = 0;
  while (!rest.empty()) {
    ++calls;
    if (const auto one = world.server->handle_train(world.now, world.wall, first.client->source, world.relay.ip, rest,
                                                    114)) {
      out.push_back(*one);
    }
  }

  CHECK(calls == 4);
  REQUIRE(out.size() == 3);
  CHECK(out[0].to == first.gateway->source);
  CHECK(out[0].bytes.size() == 228);
  CHECK(out[1].to == second.gateway->source);
  CHECK(out[1].bytes.size() == 342);
  CHECK(out[2].to == first.gateway->source);
  CHECK(out[2].bytes.size() == 64);
  CHECK(world.server->stats().malformed == 1);
}

TEST_CASE("relay server: only the bound source may send on a leg", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);

  SECTION("another port") {
    ByteBuffer train = make_train(session.client->leg, 10, 3);
    CHECK_FALSE(world.give({session.client->source.ip, 4001}, train, 24));
    CHECK(world.server->stats().wrong_source == 3);
  }
  SECTION("the other end on this end's leg") {
    ByteBuffer train = make_train(session.client->leg, 10, 1);
    CHECK_FALSE(world.give(session.gateway->source, train));
    CHECK(world.server->stats().wrong_source == 1);
  }
  SECTION("a wrong tag or slot") {
    for (std::size_t i = 2; i < kRelayHeaderSize; ++i) {
      ByteBuffer train = make_train(session.client->leg, 10, 1);
      train[i] ^= 0x80;
      CHECK_FALSE(world.give(session.client->source, train));
    }
    CHECK(world.server->stats().unknown_leg == 12);
  }
  CHECK(world.server->stats().packets_forwarded == 0);
  CHECK_FALSE(world.server->poll_transmit());
}

TEST_CASE("relay server: nothing is forwarded before the other end is bound", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  client->leg.start(world.now, world.wall);
  world.settle();
  REQUIRE(client->leg.bound());

  ByteBuffer train = make_train(client->leg, 10, 2);
  CHECK_FALSE(world.give(client->source, train, 24));
  CHECK(world.server->stats().peer_unbound == 2);
}

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

TEST_CASE("relay server: a session ends with its grant unless it is renewed", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);

  SECTION("not renewed") {
    world.pass(299s);
    CHECK(world.server->load().sessions == 1);
    world.pass(2s);
    CHECK(world.server->load().sessions == 0);
    CHECK(session.client->leg.closed());
    CHECK(session.gateway->leg.closed());
  }
  SECTION("renewed by both") {
    world.pass(200s);
    RelayGrantPair pair = world.grant(kAlice, session.client->leg.session());
    session.client->leg.renew(std::move(pair.client), world.now, world.wall);
    session.gateway->leg.renew(std::move(pair.gateway), world.now, world.wall);
    world.settle();
    world.pass(299s);
    CHECK(world.server->load().sessions == 1);
    CHECK(session.client->leg.bound());
  }
  SECTION("renewed by one") {
    world.pass(200s);
    RelayGrantPair pair = world.grant(kAlice, session.client->leg.session());
    session.client->leg.renew(std::move(pair.client), world.now, world.wall);
    world.settle();
    world.pass(110s);
    CHECK(world.server->load().sessions == 0);
  }
}

TEST_CASE("relay server: a restart is survived without signaling", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  world.pass(5s);
  const auto old_header = session.client->leg.header();

  world.restart_server();
  world.pass(30s);

  CHECK(world.server->load().sessions == 1);
  CHECK(session.client->leg.header() != old_header);
  ByteBuffer train = make_train(session.client->leg, 10, 1);
  CHECK(world.give(session.client->source, train));
}

TEST_CASE("relay server: revoking ends the identity's sessions at once and refuses its grants", "[natt][relay]") {
  RelayWorld world;
  BoundSession alice(world);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  const RelayGrantPair unused = world.grant();

  CHECK(world.server->revoke(kAlice, world.wall) == 1);
  world.settle();

  CHECK(alice.client->take<RelayLeg::Closed>().at(0).reason == RelayCloseReason::kRevoked);
  CHECK(alice.gateway->leg.closed());
  CHECK(bob.client->leg.bound());
  ByteBuffer bind = make_bind(unused.client, 1, world.wall);
  (void)world.give(address("203.0.113.1:4000"), bind);
  CHECK(world.server->stats().revoked == 1);
  const auto refused = world.server->issue(kAlice, kGateway, std::nullopt, world.wall);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::kRevoked);
  CHECK(world.server->load().sessions == 1);

  CHECK(world.server->revoke(kGateway, world.wall) == 1);
  CHECK(world.server->load().sessions == 0);

  // Enrolled again, with a grant of afterwards.
  world.wall += 1s;
  CHECK(world.server->issue(kAlice, kGateway, std::nullopt, world.wall));
}

TEST_CASE("relay server: either end closes the session for both, and a replay does not bring it back",
          "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  const auto captured = world.sent;

  session.gateway->leg.close(world.wall);
  world.settle();

  CHECK(world.server->load().sessions == 0);
  CHECK(session.client->take<RelayLeg::Closed>().at(0).reason == RelayCloseReason::kPeerClosed);
  for (auto [from, bytes] : captured) (void)world.give(from, bytes);
  CHECK(world.server->load().sessions == 0);
  CHECK_FALSE(world.server->poll_transmit());

  // New grants for the same session open it again.
  world.wall += 1ms;
  const RelayGrantPair again = world.grant(kAlice, session.client->leg.session());
  ByteBuffer bind = make_bind(again.client, 1, world.wall);
  (void)world.give(address("203.0.113.1:4000"), bind);
  CHECK(world.server->load().sessions == 1);
}

TEST_CASE("relay server: ends and shuts down sessions on command", "[natt][relay]") {
  RelayWorld world;
  BoundSession first(world);
  BoundSession second(world, kBob, "203.0.113.2:4000");

  CHECK(world.server->end_session(first.client->leg.session()));
  CHECK_FALSE(world.server->end_session(first.client->leg.session()));
  world.server->shutdown();
  world.settle();

  CHECK(first.client->take<RelayLeg::Closed>().at(0).reason == RelayCloseReason::kPeerClosed);
  CHECK(second.client->take<RelayLeg::Closed>().at(0).reason == RelayCloseReason::kShutdown);
  CHECK(world.server->load().sessions == 0);
  CHECK(world.server->stats().sessions_closed == 2);
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

TEST_CASE("relay server: session quotas hold per client, site and broker", "[natt][relay]") {
  RelayServerOptions options;
  const auto sessions_with = [&](const Identity& second, const Identity& third) {
    RelayWorld world(options);
    for (const Identity& who : {kAlice, second, third}) {
      ByteBuffer bind = make_bind(world.grant(who).client, 1, world.wall);
      (void)world.give(address("203.0.113.1:4000"), bind);
    }
    CHECK(world.server->load().sessions + world.server->stats().over_quota == 3);
    return world.server->load().sessions;
  };
  CHECK(sessions_with(kAlice, kAlice) == 3);
  options.per_client.sessions = 2;
  CHECK(sessions_with(kAlice, kAlice) == 2);
  CHECK(sessions_with(kAlice, kBob) == 3);
  options.per_site.sessions = 2;
  CHECK(sessions_with(kAlice, kBob) == 2);
  options.per_site.sessions = 0;
  options.broker.sessions = 1;
  CHECK(sessions_with(kBob, kBob) == 1);
}

TEST_CASE("relay server: a session that ends makes room in its quotas", "[natt][relay]") {
  RelayServerOptions options;
  options.per_client.sessions = 1;
  RelayWorld world(options);
  for (int i = 0; i < 3; ++i) {
    BoundSession session(world);
    world.wall += 1ms;
    CHECK(world.server->end_session(session.client->leg.session()));
    world.ends.clear();
  }
  CHECK(world.server->stats().over_quota == 0);
}

TEST_CASE("relay server: rate quotas hold per client, site and broker, and change at once", "[natt][relay]") {
  // 8 Mbit/s is 1000 octets a millisecond; the bucket holds 256 KiB.
  const RelayQuota limit{.bits_per_second = 8'000'000};
  RelayServerOptions options;
  const int which = GENERATE(0, 1, 2);
  CAPTURE(which);
  (which == 0 ? options.per_client : which == 1 ? options.per_site : options.broker) = limit;
  RelayWorld world(options);
  BoundSession alice(world);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  const auto forwarded = [&](BoundSession& session, int milliseconds) {
    std::size_t bytes = 0;
    for (int i = 0; i < milliseconds; ++i) {
      for (int j = 0; j < 10; ++j) {  // ten times the rate
        ByteBuffer train = make_train(session.client->leg, 1000, 1);
        if (world.give(session.client->source, train)) bytes += 1000;
      }
      world.now += 1ms;
    }
    return bytes;
  };

  const std::size_t first = forwarded(alice, 100);
  CHECK(first >= 256 * 1024 - 1000);
  CHECK(first <= 256 * 1024 + 100'000);
  CHECK(world.server->stats().over_rate > 0);
  const std::size_t steady = forwarded(alice, 100);
  CHECK(steady >= 99'000);
  CHECK(steady <= 101'000);
  // Bob has a bucket of his own only when the quota is the client's.
  CHECK((forwarded(bob, 10) > 50'000) == (which == 0));

  world.server->set_quotas({}, {}, {});
  CHECK(forwarded(alice, 10) == 100'000);
}

TEST_CASE("relay server: a refused packet costs the other quotas nothing", "[natt][relay]") {
  RelayServerOptions options;
  options.per_client.bits_per_second = 8'000'000;
  options.per_site.bits_per_second = 16'000'000;
  options.broker.bits_per_second = 16'000'000;
  RelayWorld world(options);
  BoundSession alice(world);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  const auto drain = [&](BoundSession& session) {
    std::size_t bytes = 0;
    for (int i = 0; i < 5000; ++i) {
      ByteBuffer train = make_train(session.client->leg, 1000, 1);
      if (world.give(session.client->source, train)) bytes += 1000;
    }
    return bytes;
  };

  // Both buckets hold 256 KiB (the least) or 400 KB (200 ms of 16 Mbit/s); Alice offers 5 MB.
  CHECK(drain(alice) == 262'000);
  CHECK(drain(bob) == 400'000 - 262'000);
}

TEST_CASE("relay server: load is the average of the last minute, and thresholds warn", "[natt][relay]") {
  RelayServerOptions options;
  options.sessions_threshold = 1;
  options.throughput_threshold = 1'000'000;
  RelayWorld world(options);
  BoundSession alice(world);
  CHECK(world.server->load().sessions == 1);
  CHECK_FALSE(world.server->load().above_sessions_threshold);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  CHECK(world.server->load().above_sessions_threshold);
  CHECK(world.server->load().bits_per_second == 0);

  // 200 kB a second is 1.6 Mbit/s.
  const auto run = [&](int seconds, std::size_t kilobytes) {
    for (int i = 0; i < seconds; ++i) {
      for (std::size_t j = 0; j < kilobytes; ++j) {
        ByteBuffer train = make_train(alice.client->leg, 1000, 1);
        REQUIRE(world.give(alice.client->source, train));
      }
      world.pass(1s);
    }
  };
  run(70, 200);
  CHECK(world.server->load().bits_per_second > 1'550'000);
  CHECK(world.server->load().bits_per_second < 1'650'000);
  CHECK(world.server->load().above_throughput_threshold);
  run(30, 0);
  CHECK(world.server->load().bits_per_second > 700'000);
  CHECK(world.server->load().bits_per_second < 900'000);
  CHECK_FALSE(world.server->load().above_throughput_threshold);
  run(40, 0);
  CHECK(world.server->load().bits_per_second == 0);
  world.server->set_thresholds(0, 0);
  CHECK_FALSE(world.server->load().above_sessions_threshold);
}

TEST_CASE("relay server: reports its sessions with their counters", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  ByteBuffer up = make_train(session.client->leg, 100, 3);
  ByteBuffer down = make_train(session.gateway->leg, 500, 1);
  REQUIRE(world.give(session.client->source, up, 114));
  REQUIRE(world.give(session.gateway->source, down));

  const auto reports = world.server->sessions();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].session == session.client->leg.session());
  CHECK(reports[0].client == kAlice);
  CHECK(reports[0].gateway == kGateway);
  CHECK(reports[0].client_address == session.client->source);
  CHECK(reports[0].gateway_address == session.gateway->source);
  CHECK(reports[0].bytes_from_client == 300);
  CHECK(reports[0].packets_from_client == 3);
  CHECK(reports[0].bytes_from_gateway == 500);
  CHECK(reports[0].packets_from_gateway == 1);
}

TEST_CASE("relay server: a slot that is used again has another id", "[natt][relay]") {
  RelayWorld world;
  std::array<std::uint8_t, kRelayHeaderSize> old_header{};
  SocketAddress old_source;
  {
    BoundSession session(world);
    old_header = session.client->leg.header();
    old_source = session.client->source;
    world.server->end_session(session.client->leg.session());
    world.ends.clear();
  }
  BoundSession next(world);
  CHECK(parse_relay_header(old_header)->leg.slot == parse_relay_header(next.client->leg.header())->leg.slot);

  ByteBuffer stale(old_header.begin(), old_header.end());
  stale.resize(100);
  CHECK_FALSE(world.give(old_source, stale));
  CHECK(world.server->stats().unknown_leg == 1);
}

TEST_CASE("relay server: the reply queue is bounded", "[natt][relay]") {
  RelayWorld world;
  for (int i = 0; i < 300; ++i) {
    ByteBuffer bind = make_bind(world.grant().client, 1, world.wall);
    (void)world.give(address("203.0.113.1:4000"), bind);
  }
  CHECK(world.server->stats().replies_dropped == 300 - RelayServer::kReplyQueueLimit);
}

TEST_CASE("relay server: an idle one asks for no wake-ups", "[natt][relay]") {
  RelayWorld world;
  CHECK_FALSE(world.server->next_deadline());
  {
    BoundSession session(world);
    CHECK(world.server->next_deadline());
    world.server->shutdown();
    world.settle();
    world.ends.clear();
  }
  world.pass(2min);
  CHECK_FALSE(world.server->next_deadline());
}
