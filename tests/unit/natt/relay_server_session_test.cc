// SPDX-License-Identifier: Apache-2.0
// How sessions begin, end and are told of.
#include <natt/relay_server.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

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

TEST_CASE("relay server: a session's beginning and end are told in words", "[natt][relay]") {
  std::vector<std::string> lines;
  RelayWorld world({.log = {.write = [](void* context, LogLevel, std::string_view line) {
                              static_cast<std::vector<std::string>*>(context)->emplace_back(line);
                            },
                            .context = &lines}});

  BoundSession alice(world);
  world.server->shutdown();

  const std::string who = "client=" + kAlice.uri() + " gateway=" + kGateway.uri() + " transport=udp";
  CHECK(lines == std::vector<std::string>{
                     "natt.relay.session " + who,
                     "natt.relay.session_end " + who + " reason=shutdown bytes_from_client=0 bytes_from_gateway=0"});
}
