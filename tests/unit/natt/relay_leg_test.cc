// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_leg.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <deque>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

bool never(const Transmit&) { return false; }
bool always(const Transmit&) { return true; }

RelayKind kind_of(const Transmit& transmit) { return parse_relay_header(transmit.bytes)->kind; }

}  // namespace

TEST_CASE("relay leg: binds in two round trips and tells its round-trip time", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  CHECK_FALSE(client->leg.bound());

  client->leg.start(world.now, world.wall);
  world.settle();

  CHECK(client->leg.bound());
  const auto bound = client->take<RelayLeg::Bound>();
  REQUIRE(bound.size() == 1);
  CHECK(bound[0].rtt == 0ns);
  CHECK_FALSE(bound[0].peer_bound);
}

TEST_CASE("relay leg: each end learns when the other is there", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  const auto gateway = world.make_end(pair.gateway, "192.0.2.2:5000");

  client->leg.start(world.now, world.wall);
  world.settle();
  CHECK_FALSE(client->take<RelayLeg::Bound>().at(0).peer_bound);
  gateway->leg.start(world.now, world.wall);
  world.settle();

  CHECK(gateway->take<RelayLeg::Bound>().at(0).peer_bound);
  const auto changed = client->take<RelayLeg::PeerChanged>();
  REQUIRE(changed.size() == 1);
  CHECK(changed[0].peer_bound);
}

TEST_CASE("relay leg: binds through loss of any single frame", "[natt][relay]") {
  const int lost = GENERATE(0, 1, 2, 3);
  CAPTURE(lost);
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  int seen = 0;
  world.lose = [&](const Transmit&) { return seen++ == lost; };

  client->leg.start(world.now, world.wall);
  world.settle();
  CHECK_FALSE(client->leg.bound());
  world.pass(2s);

  CHECK(client->leg.bound());
  CHECK(client->take<RelayLeg::Lost>().empty());
}

TEST_CASE("relay leg: binds at the first try over a path of 0.7 s each way", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  std::deque<std::pair<Instant, Transmit>> to_relay, to_leg;
  client->leg.start(world.now, world.wall);
  const Instant start = world.now;

  while (!client->leg.bound() && world.now < start + 10s) {
    client->leg.handle_timeout(world.now, world.wall);
    while (auto out = client->leg.poll_transmit()) to_relay.emplace_back(world.now + 700ms, *out);
    while (!to_relay.empty() && to_relay.front().first <= world.now) {
      (void)world.give(client->source, to_relay.front().second.bytes);
      to_relay.pop_front();
    }
    while (auto reply = world.server->poll_transmit()) to_leg.emplace_back(world.now + 700ms, *reply);
    while (!to_leg.empty() && to_leg.front().first <= world.now) {
      client->leg.handle_datagram(world.now, world.wall, world.relay, to_leg.front().second.bytes);
      to_leg.pop_front();
    }
    world.now += 10ms;
    world.wall += 10ms;
  }

  CHECK(world.now - start < 3s);  // two round trips
  CHECK(world.server->stats().challenges == 1);
}

TEST_CASE("relay leg: reports Lost once and goes on trying", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  world.lose = always;
  client->leg.start(world.now, world.wall);

  world.pass(3499ms);
  CHECK(client->take<RelayLeg::Lost>().empty());
  world.pass(1ms);
  CHECK(client->take<RelayLeg::Lost>().size() == 1);
  world.pass(30s);
  CHECK(client->take<RelayLeg::Lost>().empty());
  // 0, 0.5, 1.5, 3.5, then every 4 s.
  CHECK(client->leg.stats().binds_sent == 4 + 7);

  world.lose = never;
  world.pass(5s);
  CHECK(client->leg.bound());
  CHECK(client->take<RelayLeg::Bound>().size() == 1);
}

TEST_CASE("relay leg: a bound leg keeps its mapping alive", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  session.client->events.clear();

  world.pass(62s);

  CHECK(session.client->leg.stats().keepalives_sent == 4);
  CHECK(session.client->leg.stats().binds_sent == 1);
  CHECK(session.client->events.empty());
}

TEST_CASE("relay leg: an address that changes on the way is noticed with the next keepalive", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  session.client->source = address("203.0.113.1:4999");

  world.pass(16s);

  CHECK(world.server->sessions().at(0).client_address == session.client->source);
  CHECK(session.client->leg.stats().binds_sent == 1);
  CHECK(session.client->leg.bound());
  CHECK(world.server->stats().takeovers == 1);
}

TEST_CASE("relay leg: rebind moves the leg at once and its header stays usable meanwhile", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  session.client->events.clear();
  const auto header = session.client->leg.header();
  world.pass(1s);
  const SocketAddress old_source = session.client->source;
  session.client->source = address("203.0.113.200:1");

  session.client->leg.rebind_from(address("10.0.0.7:0").ip, world.now, world.wall);
  CHECK(session.client->leg.bound());
  ByteBuffer train = make_train(session.client->leg, 10, 1);
  CHECK(world.give(old_source, train));
  world.settle();

  CHECK(session.client->leg.header() == header);
  CHECK(session.client->take<RelayLeg::Bound>().size() == 1);
  CHECK(session.client->leg.local() == address("10.0.0.7:0").ip);
  train = make_train(session.client->leg, 10, 1);
  CHECK(world.give(session.client->source, train));
  train = make_train(session.client->leg, 10, 1);
  CHECK_FALSE(world.give(old_source, train));
}

TEST_CASE("relay leg: a relay that stops answering is asked thrice, then bound anew, then lost", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  session.client->events.clear();
  world.lose = always;

  world.pass(15s + 3s);  // keepalives at 15, 16 and 17 s, bind at 18 s
  CHECK(session.client->leg.stats().keepalives_sent == 3);
  CHECK(session.client->leg.stats().binds_sent == 2);
  CHECK(session.client->take<RelayLeg::Lost>().empty());
  world.pass(4s);
  CHECK(session.client->take<RelayLeg::Lost>().size() == 1);
}

TEST_CASE("relay leg: asks for a new grant in time, and again", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);

  world.pass(209s);
  CHECK(session.client->take<RelayLeg::RenewalNeeded>().empty());
  world.pass(1s);
  CHECK(session.client->take<RelayLeg::RenewalNeeded>().size() == 1);
  world.pass(15s);
  CHECK(session.client->take<RelayLeg::RenewalNeeded>().size() == 1);

  RelayGrantPair pair = world.grant(kAlice, session.client->leg.session());
  session.client->leg.renew(std::move(pair.client), world.now, world.wall);
  session.gateway->leg.renew(std::move(pair.gateway), world.now, world.wall);
  world.settle();
  world.pass(209s);
  CHECK(session.client->take<RelayLeg::RenewalNeeded>().empty());
  CHECK(session.client->leg.bound());
}

TEST_CASE("relay leg: a renewed grant is delivered through loss", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  world.pass(200s);
  RelayGrantPair pair = world.grant(kAlice, session.client->leg.session());
  int lost = 0;
  world.lose = [&](const Transmit& transmit) { return kind_of(transmit) == RelayKind::kBind && lost++ < 4; };
  session.client->leg.renew(std::move(pair.client), world.now, world.wall);
  session.gateway->leg.renew(std::move(pair.gateway), world.now, world.wall);
  world.settle();

  world.pass(105s);

  CHECK(lost >= 5);
  CHECK(world.server->load().sessions == 1);
}

TEST_CASE("relay leg: a grant for another session or an older one is ignored", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  const auto before = session.client->leg.stats().binds_sent;

  session.client->leg.renew(world.grant().client, world.now, world.wall);
  CHECK(session.client->leg.stats().binds_sent == before);
}

TEST_CASE("relay leg: without a new grant it ends", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  const auto client = world.make_end(pair.client, "203.0.113.1:4000");
  world.lose = always;
  client->leg.start(world.now, world.wall);

  world.pass(5min);

  CHECK(client->leg.closed());
  CHECK(client->take<RelayLeg::Closed>().at(0).reason == RelayCloseReason::kExpired);
  CHECK_FALSE(client->leg.next_deadline());
}

TEST_CASE("relay leg: counters rise over restarts of the leg", "[natt][relay]") {
  RelayWorld world;
  RelayGrantPair pair = world.grant();
  {
    const auto first = world.make_end(pair.client, "203.0.113.1:4000");
    first->leg.start(world.now, world.wall);
    world.settle();
    for (int i = 0; i < 500; ++i) first->leg.rebind(world.now, world.wall);  // all in one millisecond
    world.settle();
    world.ends.clear();
  }
  world.pass(1s);

  const auto second = world.make_end(pair.client, "203.0.113.1:4001");
  second->leg.start(world.now, world.wall);
  world.settle();

  CHECK(second->leg.bound());
}

TEST_CASE("relay leg: unwraps its own data frames from its relay and nothing else", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  const RelayLeg& leg = session.client->leg;
  ByteBuffer frame = make_train(leg, 40, 1);

  const auto packet = leg.unwrap(world.relay, frame);
  REQUIRE(packet);
  CHECK(packet->size() == 40);
  CHECK_FALSE(leg.unwrap(address("198.51.100.11:443"), frame));
  CHECK_FALSE(leg.unwrap(world.relay, ByteView(frame).first(kRelayHeaderSize)));
  CHECK_FALSE(leg.unwrap(world.relay, {}));
  for (std::size_t i = 0; i < kRelayHeaderSize; ++i) {
    ByteBuffer damaged = frame;
    damaged[i] ^= 1;
    CHECK_FALSE(leg.unwrap(world.relay, damaged));
  }
}

TEST_CASE("relay leg: control frames that are forged, replayed or from elsewhere change nothing", "[natt][relay]") {
  RelayWorld world;
  BoundSession session(world);
  world.pass(20s);
  session.client->events.clear();
  RelayLeg& leg = session.client->leg;
  const auto rejected_before = leg.stats().rejected;
  std::uint64_t tried = 0;

  for (const Transmit& reply : world.replies) {
    if (reply.to != session.client->source) continue;
    leg.handle_datagram(world.now, world.wall, address("198.51.100.11:443"), reply.bytes);
    ByteBuffer forged = reply.bytes;
    forged.back() ^= 1;
    leg.handle_datagram(world.now, world.wall, world.relay, forged);
    tried += 2;
  }
  // The first ones, replayed: challenge and bound of the bind.
  leg.handle_datagram(world.now, world.wall, world.relay, world.replies.front().bytes);
  CHECK(leg.stats().rejected == rejected_before + tried + 1);
  CHECK_FALSE(leg.poll_event());
  CHECK_FALSE(leg.poll_transmit());
}

TEST_CASE("relay leg: every input in every state is harmless", "[natt][relay]") {
  RelayWorld world;
  const int state = GENERATE(0, 1, 2, 3, 4);
  CAPTURE(state);
  RelayGrantPair pair = world.grant();
  const auto gateway = world.make_end(pair.gateway, "192.0.2.2:5000");
  gateway->leg.start(world.now, world.wall);
  const auto end = world.make_end(pair.client, "203.0.113.1:4000");
  RelayLeg& leg = end->leg;
  if (state == 1) world.lose = always;                                                                   // binding
  if (state == 2) world.lose = [](const Transmit& t) { return kind_of(t) == RelayKind::kEcho; };  // echoing
  if (state >= 1) leg.start(world.now, world.wall);
  world.settle();
  if (state == 4) leg.close(world.wall);
  world.settle();
  world.lose = never;
  const bool was_closed = leg.closed();
  const bool was_bound = leg.bound();

  SECTION("start again") {
    leg.start(world.now, world.wall);
    CHECK(leg.closed() == was_closed);
    CHECK(leg.bound() == was_bound);
  }
  SECTION("rebind") {
    world.now += 2s;
    leg.rebind(world.now, world.wall);
    world.settle();
    CHECK(leg.bound() == (state >= 1 && state <= 3));
  }
  SECTION("renew") {
    world.now += 2s;
    leg.renew(world.grant(kAlice, leg.session()).client, world.now, world.wall);
    world.settle();
    CHECK(leg.closed() == was_closed);
    CHECK(leg.bound() == (state >= 1 && state <= 3));
  }
  SECTION("time") {
    world.pass(10s);
    CHECK(leg.bound() == (state >= 1 && state <= 3));
  }
  SECTION("every frame that was ever sent") {
    for (const Transmit& reply : std::vector<Transmit>(world.replies)) {
      leg.handle_datagram(world.now, world.wall, world.relay, reply.bytes);
    }
    for (const auto& [from, bytes] : world.sent) leg.handle_datagram(world.now, world.wall, world.relay, bytes);
    CHECK(leg.closed() == was_closed);
  }
  SECTION("close") {
    leg.close(world.wall);
    CHECK(leg.closed());
    CHECK_FALSE(leg.bound());
    CHECK_FALSE(leg.next_deadline());
    leg.close(world.wall);
    world.settle();
    // The gateway's half alone stays (idle, echoing); nothing of it got through while the client was binding.
    CHECK(world.server->load().sessions == (state == 0 || state == 2 ? 1 : 0));
  }
}
