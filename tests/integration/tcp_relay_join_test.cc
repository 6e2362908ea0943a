// SPDX-License-Identifier: Apache-2.0
// Who joins a session that is relayed over TCP, and what ends it, with a real broker.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/errc.h>
#include <natt/tcp_relay.h>

#include "integration/free_port.h"
#include "integration/relay_site.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("tcp relay: the token of somebody else opens nothing and stays good", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());

  site.mallory->join(site.alice->grants.back());
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().wrong_identity > 0; }));
  CHECK(site.loop.run_until([&] { return !site.mallory->legs.empty() && site.mallory->legs[0]->over(); }));
  CHECK(site.mallory->legs[0]->received.empty());

  site.alice->join();
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 1; }));
}

TEST_CASE("tcp relay: a token is good for one leg", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  const auto grant = site.alice->grants.back();

  site.alice->join(grant);

  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().used_token > 0; }));
  CHECK(site.loop.run_until([&] { return site.alice->legs.size() == 2 && site.alice->legs[1]->over(); }));
  site.alice->legs[0]->connection->write(as_bytes("still"));
  CHECK(site.loop.run_until([&] { return site.gateway_leg().text() == "still"; }));
}

TEST_CASE("tcp relay: revoking an end resets its session in the same turn", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();

  site.revoke(site.alice_identity);

  CHECK(site.broker->relay_load().sessions == 0);
  CHECK(site.broker->relay_sessions().empty());
  CHECK(site.loop.run_until([&] { return site.client_leg().reset && site.gateway_leg().reset; }, 1000));
}

TEST_CASE("tcp relay: a leg that waits for the other ends with its device", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));

  site.revoke(site.alice_identity);

  CHECK(site.loop.run_until([&] { return site.client_leg().over(); }, 1000));
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().revoked_token > 0; }));
}

TEST_CASE("tcp relay: either end ends the session by signaling", "[integration][tcp_relay]") {
  const bool client_ends = GENERATE(true, false);
  CAPTURE(client_ends);
  RelaySite site;
  site.join_both();
  RelayDevice& ending = client_ends ? *site.alice : *site.gateway;

  ending.send(SessionEnd{.session = ending.grants.back().session, .reason = SessionEndReason::kClosed});

  CHECK(site.loop.run_until([&] { return site.client_leg().over() && site.gateway_leg().over(); }));
  CHECK(site.broker->relay_load().sessions == 0);
}

TEST_CASE("tcp relay: a leg whose other end never comes is let go after ten seconds", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));

  CHECK(site.loop.run_until([&] { return site.client_leg().over(); }, 11'000));
  CHECK(site.broker->tcp_relay_stats().left_alone == 1);
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().expired_token > 0; }));
}

TEST_CASE("tcp relay: requests that lead nowhere are refused with a reason", "[integration][tcp_relay]") {
  SECTION("a quota of sessions") {
    uv::BrokerOptions options = in_mode(SpaMode::kUdpTcp);
    options.relay.per_client.sessions = 1;
    RelaySite site(std::move(options));
    site.join_both();
    static_cast<void>(site.loop.run_until([] { return false; }, 1050));  // one offer a second
    const SessionId second = site.open_session();
    site.alice->send(RelayRequest{.session = second, .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kQuota);
    CHECK(site.alice->refusals[0].transport == RelayTransport::kTcp);
  }
  SECTION("a gateway that does not relay over TCP") {
    RelaySite site({}, kFeatureRelayUdp);
    site.alice->send(RelayRequest{.session = site.open_session(), .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kNoRelay);
  }
  SECTION("a gateway that has gone") {
    RelaySite site;
    const SessionId session = site.open_session();
    site.gateway.reset();
    REQUIRE(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].gateways_online == 0; }));
    site.alice->send(RelayRequest{.session = session, .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kGatewayOffline);
  }
  SECTION("a renewal") {
    RelaySite site;
    site.join_both();
    site.alice->send(RelayRenewal{.session = site.alice->grants.back().session, .transport = RelayTransport::kTcp,
                                  .sealed = {1}});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kInvalid);
    CHECK(site.broker->relay_load().sessions == 1);
  }
}

TEST_CASE("tcp relay: a grant that is not for TCP, or leads elsewhere, is refused by the end",
          "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  RelayGrantMessage grant = site.alice->grants.back();
  const BrokerIndex broker = site.alice->signaling->connected().at(0);
  SECTION("UDP") { grant.transport = RelayTransport::kUdp; }
  SECTION("elsewhere") { grant.relay.ip = IpAddress::v4({192, 0, 2, 1}); }

  const auto join = site.alice->signaling->join_relay(uv::now(), broker, grant, *site.alice);

  REQUIRE_FALSE(join);
  CHECK(join.error().code == make_error_code(Errc::kUnavailable));
}

TEST_CASE("tcp relay: a copied flight opens nothing", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  site.request_relay(site.open_session());
  const ByteBuffer flight = site.make_flight(site.alice_identity, site.alice->grants.back().pairing_token);
  const auto original = site.connect_raw(flight);
  const std::uint64_t admitted = site.broker->door(uv::now()).connections.admitted;
  REQUIRE(site.loop.run_until([&] { return site.broker->door(uv::now()).connections.admitted > admitted; }));

  ByteBuffer copied = flight;
  copied.insert(copied.end(), kRelayJoinConfirmation.begin(), kRelayJoinConfirmation.end());
  const auto copy = site.connect_raw(copied);

  REQUIRE(site.loop.run_until([&] { return site.broker->door(uv::now()).connections.rejected_verdict == 1; }));
  site.settle();
  CHECK(site.broker->tcp_relay_stats().legs_joined == 0);
  CHECK_FALSE(copy->over());
  // The original is the leg, as soon as it says so.
  original->connection->write(kRelayJoinConfirmation);
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));
}

TEST_CASE("tcp relay: a leg that waits and goes is forgotten", "[integration][tcp_relay]") {
  const bool politely = GENERATE(true, false);
  CAPTURE(politely);
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));

  politely ? site.client_leg().connection->shutdown() : site.client_leg().connection->abort();

  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().left_early == 1; }));
}

TEST_CASE("tcp relay: a join that nobody answers fails, and one that is destroyed says nothing",
          "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  const auto grant = site.alice->grants.back();
  SECTION("nobody there") {
    // Still an address of the broker, but not its port.
    RelayGrantMessage wrong = grant;
    wrong.relay.port = nobodys_address(site.loop, site.random).port;
    site.alice->join(wrong);
    CHECK(site.loop.run_until([&] { return !site.alice->failed.empty(); }));
    CHECK(site.alice->failed[0].code == make_error_code(Errc::kRefused));
  }
  SECTION("destroyed") {
    site.alice->join(grant);
    site.alice->joins.clear();
    static_cast<void>(site.loop.run_until([] { return false; }, 500));
    CHECK(site.alice->failed.empty());
    CHECK(site.broker->tcp_relay_stats().legs_joined == 0);
  }
  CHECK(site.alice->legs.empty());
}

TEST_CASE("tcp relay: a gateway joins many relays at once, from one address", "[integration][tcp_relay]") {
  // In mode udp-tcp each of them needs a knock of its own, and they overtake each other.
  RelaySite site;
  constexpr std::size_t kSessions = 4;
  for (std::size_t i = 0; i < kSessions; ++i) {
    if (i > 0) static_cast<void>(site.loop.run_until([] { return false; }, 1050));  // one offer a second
    site.request_relay(site.open_session());
  }
  for (const RelayGrantMessage& grant : site.gateway->grants) site.gateway->join(grant);
  for (const RelayGrantMessage& grant : site.alice->grants) site.alice->join(grant);

  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == kSessions; }));
  CHECK(site.broker->door(uv::now()).connections.rejected_knock == 0);
}
