// SPDX-License-Identifier: Apache-2.0
// What goes through a session, and from whom.
#include <natt/relay_server.h>

#include <catch2/catch_test_macros.hpp>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;

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
