// SPDX-License-Identifier: Apache-2.0
// Whole sessions between a client, a gateway and a broker in memory.

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>
#include <natt/session_offer.h>

#include "support/signal_world.h"

using namespace natt;
using namespace std::chrono_literals;
using natt::test::last_of;
using natt::test::SignalPeer;
using natt::test::SignalWorld;

namespace {

GatewayRegistration registration(std::uint64_t boot_id) {
  return {.addresses = {*SocketAddress::parse("203.0.113.7:443")},
          .udp = {.nat = {NatMapping::kEndpointIndependent, NatFiltering::kAddressDependent}, .stun_answered = true},
          .load = {.sessions = 3, .capacity = 100},
          .boot_id = boot_id};
}

Candidate candidate(const char* address) {
  return {.address = *SocketAddress::parse(address), .type = CandidateType::kServerReflexive, .base = {}};
}

SessionOffer offer_to(SignalWorld& world, const Identity& gateway) {
  return {.session = SessionId::make(world.random),
          .gateway = gateway,
          .punch = make_punch_credential(world.random),
          .udp = {},
          .candidates = {candidate("198.51.100.77:4000")},
          .time = world.wall};
}

// What an application does with an offer that reaches its gateway.
void answer_last_offer(SignalWorld& world, SignalPeer& gateway, OfferVerifier& verifier,
                       std::optional<RefusalReason> refusal = {}) {
  const auto* forwarded = gateway.saw<ForwardedOffer>();
  REQUIRE(forwarded != nullptr);
  const Credentials& credentials = world.pki().credentials(Role::kGateway, "gw1");
  const auto offer = verifier.verify(forwarded->sealed_offer, *world.store().roster(), world.wall);
  REQUIRE(offer);
  const SessionAnswer answer{.session = forwarded->session,
                             .client = offer->client,
                             .refusal = refusal,
                             .punch = make_punch_credential(world.random),
                             .transaction_key = StunTransactionKey(world.random.bytes<16>()),
                             .udp = {},
                             .candidates = {candidate("203.0.113.7:443")},
                             .time = world.wall};
  const auto sealed = seal_answer(answer, offer->digest, credentials);
  REQUIRE(sealed);
  REQUIRE(gateway.client->send(world.now, AnswerMessage{forwarded->session, {}, *sealed}));
  world.run();
}

struct OpenSession {
  SessionOffer offer;
  SealedOffer sealed;
};

OpenSession send_offer(SignalWorld& world, SignalPeer& client, const Identity& gateway) {
  OpenSession session{.offer = offer_to(world, gateway), .sealed = {}};
  session.sealed = *seal_offer(session.offer, world.pki().credentials(Role::kClient, client.identity.name));
  REQUIRE(client.client->send(world.now, OfferMessage{session.offer.session, gateway, session.sealed.bytes}));
  world.run();
  return session;
}

}  // namespace

TEST_CASE("signal: a client and a gateway agree on a session through the broker", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1", {.boot_id = 77});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  REQUIRE(gateway.is_open());
  REQUIRE(alice.is_open());
  CHECK(alice.saw<SignalConnected>()->welcome.observed == *SocketAddress::parse("203.0.113.5:40000"));
  CHECK(alice.saw<GatewayDirectory>()->complete);
  CHECK(alice.saw<GatewayDirectory>()->entries.empty());

  REQUIRE(gateway.client->send(world.now, registration(77)));
  world.run();
  const auto* directory = alice.saw<GatewayDirectory>();
  REQUIRE(directory->entries.size() == 1);
  CHECK_FALSE(directory->complete);
  CHECK(directory->entries[0] == GatewayEntry{gateway.identity, true, registration(77)});

  world.seen[alice.identity] = {*IpAddress::parse("198.51.100.77")};
  world.seen[gateway.identity] = {*IpAddress::parse("203.0.113.7")};
  const OpenSession session = send_offer(world, alice, gateway.identity);
  const auto* forwarded = gateway.saw<ForwardedOffer>();
  REQUIRE(forwarded != nullptr);
  CHECK(forwarded->client == alice.identity);
  CHECK(forwarded->vouched == world.seen[alice.identity]);

  OfferVerifier verifier(world.pki().credentials(Role::kGateway, "gw1"));
  answer_last_offer(world, gateway, verifier);
  const auto* answer = alice.saw<AnswerMessage>();
  REQUIRE(answer != nullptr);
  CHECK(answer->vouched == world.seen[gateway.identity]);
  const auto verified =
      verify_answer(answer->sealed_answer, session.offer.session, gateway.identity, session.sealed.digest,
                    world.pki().credentials(Role::kClient, "alice"), *world.store().roster(), world.wall);
  REQUIRE(verified);
  CHECK_FALSE(verified->refusal);
  CHECK(verified->candidates == std::vector{candidate("203.0.113.7:443")});
  REQUIRE(alice.saw<PunchStart>() != nullptr);
  REQUIRE(gateway.saw<PunchStart>() != nullptr);
  CHECK(alice.saw<PunchStart>()->start == gateway.saw<PunchStart>()->start);
  CHECK(alice.saw<PunchStart>()->start > world.wall);
  CHECK(last_of<SessionOpened>(world.hub_events)->client == alice.identity);
  CHECK(world.hub->session_count() == 1);

  REQUIRE(alice.client->send(world.now,
                             CandidateBatch{session.offer.session, {candidate("198.51.100.77:5000")}, true, {}}));
  world.run();
  REQUIRE(gateway.saw<CandidateBatch>() != nullptr);
  CHECK(gateway.saw<CandidateBatch>()->last);
  CHECK(gateway.saw<CandidateBatch>()->vouched == world.seen[alice.identity]);

  REQUIRE(gateway.client->send(world.now, SessionEnd{session.offer.session, SessionEndReason::kClosed}));
  world.run();
  CHECK(alice.saw<SessionEnd>()->reason == SessionEndReason::kClosed);
  CHECK(last_of<SessionClosed>(world.hub_events)->key.session == session.offer.session);
  CHECK(world.hub->session_count() == 0);
}

TEST_CASE("signal: a gateway's refusal reaches the client signed, and no session remains", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const OpenSession session = send_offer(world, alice, gateway.identity);
  OfferVerifier verifier(world.pki().credentials(Role::kGateway, "gw1"));

  answer_last_offer(world, gateway, verifier, RefusalReason::kNotEntitled);

  const auto answer = verify_answer(alice.saw<AnswerMessage>()->sealed_answer, session.offer.session, gateway.identity,
                                    session.sealed.digest, world.pki().credentials(Role::kClient, "alice"),
                                    *world.store().roster(), world.wall);
  REQUIRE(answer);
  CHECK(answer->refusal == RefusalReason::kNotEntitled);
  CHECK(world.hub->session_count() == 0);
  CHECK(last_of<SessionOpened>(world.hub_events) == nullptr);
  CHECK(alice.saw<PunchStart>() == nullptr);
}

TEST_CASE("signal: relay and STUN are asked of the composition and answered to the right ends", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const OpenSession session = send_offer(world, alice, gateway.identity);
  const SessionKey key{"hq", session.offer.session};

  REQUIRE(alice.client->send(world.now, RelayRequest{session.offer.session, RelayTransport::kUdp}));
  world.run();
  CHECK(last_of<RelayRequested>(world.hub_events) == nullptr);  // not before the gateway accepted
  OfferVerifier verifier(world.pki().credentials(Role::kGateway, "gw1"));
  answer_last_offer(world, gateway, verifier);
  const auto* request = last_of<RelayRequested>(world.hub_events);
  REQUIRE(request != nullptr);
  CHECK(request->requester == alice.identity);
  CHECK(request->gateway == gateway.identity);

  RelayGrantMessage grant{.session = session.offer.session,
                          .transport = RelayTransport::kUdp,
                          .relay = *SocketAddress::parse("198.51.100.10:443"),
                          .grant = {.session = session.offer.session.octets,
                                    .sealed = {1, 2, 3},
                                    .key = RelayKey(world.random.bytes<32>()),
                                    .expires = world.wall + 5min}};
  world.hub->grant_relay(world.now, key, alice.identity, grant);
  world.hub->refuse_relay(world.now, key, gateway.identity, RelayTransport::kTcp, RefusalReason::kQuota);
  world.run();
  REQUIRE(alice.saw<RelayGrantMessage>() != nullptr);
  CHECK(alice.saw<RelayGrantMessage>()->grant.sealed == grant.grant.sealed);
  CHECK(alice.saw<RelayGrantMessage>()->grant.key == grant.grant.key);
  CHECK(gateway.saw<RelayGrantMessage>() == nullptr);
  CHECK(gateway.saw<RelayRefusal>()->reason == RefusalReason::kQuota);

  REQUIRE(gateway.client->send(world.now, RelayRenewal{session.offer.session, RelayTransport::kUdp, {1, 2, 3}}));
  REQUIRE(alice.client->send(world.now, StunCredentialsRequest{}));
  world.run();
  CHECK(last_of<RelayRenewalRequested>(world.hub_events)->requester == gateway.identity);
  CHECK(last_of<RelayRenewalRequested>(world.hub_events)->known);
  const auto* wanted = last_of<StunCredentialsWanted>(world.hub_events);
  REQUIRE(wanted != nullptr);
  const StunCredential credential = make_stun_credential(StunTransactionKey{}, world.random);
  world.hub->send_stun_credentials(world.now, wanted->channel,
                                   {credential, 1h, {*SocketAddress::parse("198.51.100.10:443")}});
  world.run();
  CHECK(alice.saw<StunCredentials>()->credential.username == credential.username);
  CHECK(gateway.saw<StunCredentials>() == nullptr);
}

TEST_CASE("signal: a relay renewal survives a restart of the broker", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const SessionId session = SessionId::make(world.random);

  REQUIRE(alice.client->send(world.now, RelayRenewal{session, RelayTransport::kUdp, {9}}));
  world.run();
  const auto* renewal = last_of<RelayRenewalRequested>(world.hub_events);
  REQUIRE(renewal != nullptr);
  CHECK_FALSE(renewal->known);
  world.hub->restore_session(world.now, {"hq", session}, alice.identity, gateway.identity);

  REQUIRE(gateway.client->send(world.now, RelayRenewal{session, RelayTransport::kUdp, {9}}));
  world.run();
  CHECK(last_of<RelayRenewalRequested>(world.hub_events)->known);
  CHECK(last_of<RelayRenewalRequested>(world.hub_events)->client == alice.identity);
}

TEST_CASE("signal: offers are refused with the broker's own reason", "[natt][signal]") {
  SignalWorld world({"hq", "branch"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const auto reason_for = [&](const Identity& gateway, const SessionId& session) {
    world.advance(1s);
    REQUIRE(alice.client->send(world.now, OfferMessage{session, gateway, {1}}));
    world.run();
    return alice.saw<OfferRejection>()->reason;
  };

  CHECK(reason_for({"hq", Role::kGateway, "nobody"}, SessionId::make(world.random)) == RefusalReason::kUnknownGateway);
  CHECK(reason_for({"branch", Role::kGateway, "gw1"}, SessionId::make(world.random)) == RefusalReason::kUnknownGateway);
  CHECK(reason_for({"hq", Role::kGateway, "gw1"}, SessionId::make(world.random)) == RefusalReason::kGatewayOffline);
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  const SessionId session = SessionId::make(world.random);
  world.advance(1s);
  REQUIRE(alice.client->send(world.now, OfferMessage{session, gateway.identity, {1}}));
  world.run();
  CHECK(
      alice.client->send(world.now, OfferMessage{SessionId::make(world.random), gateway.identity, {1}}).error().code ==
      Errc::kLimit);
  CHECK(reason_for(gateway.identity, session) == RefusalReason::kDuplicate);
  world.hub->drain(world.now, 60s);
  CHECK(reason_for(gateway.identity, SessionId::make(world.random)) == RefusalReason::kDraining);
}

TEST_CASE("signal: an offer without an answer ends, and so does one whose gateway leaves", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");

  send_offer(world, alice, gateway.identity);
  world.advance(11s);
  CHECK(alice.saw<OfferRejection>()->reason == RefusalReason::kGatewayOffline);
  CHECK(world.hub->session_count() == 0);

  alice.events.clear();
  send_offer(world, alice, gateway.identity);
  world.cut(gateway);
  CHECK(alice.saw<OfferRejection>()->reason == RefusalReason::kGatewayOffline);
  CHECK_FALSE(alice.saw<GatewayDirectory>()->entries[0].online);
  CHECK(world.hub->session_count() == 0);
}

TEST_CASE("signal: sessions survive a reconnect and end after the grace", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const OpenSession session = send_offer(world, alice, gateway.identity);
  OfferVerifier verifier(world.pki().credentials(Role::kGateway, "gw1"));
  answer_last_offer(world, gateway, verifier);

  world.cut(alice);
  world.advance(4min);
  SignalPeer& again = world.connect(Role::kClient, "alice");
  world.advance(10min);
  CHECK(world.hub->session_count() == 1);
  REQUIRE(
      again.client->send(world.now, CandidateBatch{session.offer.session, {candidate("198.51.100.1:1")}, false, {}}));
  world.run();
  CHECK(gateway.saw<CandidateBatch>() != nullptr);

  world.cut(again);
  world.advance(5min + 1s);
  CHECK(world.hub->session_count() == 0);
  CHECK(gateway.saw<SessionEnd>()->reason == SessionEndReason::kPeerGone);
  CHECK(last_of<SessionClosed>(world.hub_events)->reason == SessionEndReason::kPeerGone);
  CHECK(gateway.is_open());
}

TEST_CASE("signal: nobody reaches into a session that is not theirs", "[natt][signal]") {
  SignalWorld world({"hq", "branch"});
  static_cast<void>(world.pki().device(Role::kClient, "mallory"));
  static_cast<void>(world.pki().device(Role::kGateway, "gw2"));
  world.publish();
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  SignalPeer& mallory = world.connect(Role::kClient, "mallory");
  SignalPeer& other_gateway = world.connect(Role::kGateway, "gw2");
  SignalPeer& stranger = world.connect(Role::kClient, "alice", {}, "branch");
  const OpenSession session = send_offer(world, alice, gateway.identity);
  OfferVerifier verifier(world.pki().credentials(Role::kGateway, "gw1"));
  // Before the answer: only the gateway may give it.
  REQUIRE(other_gateway.client->send(world.now, AnswerMessage{session.offer.session, {}, {1}}));
  world.run();
  CHECK(alice.saw<AnswerMessage>() == nullptr);
  answer_last_offer(world, gateway, verifier);

  for (SignalPeer* outsider : {&mallory, &other_gateway, &stranger}) {
    CAPTURE(outsider->identity.uri());
    REQUIRE(
        outsider->client->send(world.now, CandidateBatch{session.offer.session, {candidate("1.2.3.4:5")}, false, {}}));
    REQUIRE(outsider->client->send(world.now, SessionEnd{session.offer.session, SessionEndReason::kClosed}));
    REQUIRE(outsider->client->send(world.now, RelayRequest{session.offer.session, RelayTransport::kUdp}));
    world.run();
    CHECK(outsider->is_open());
    CHECK(outsider->saw<RelayRefusal>()->reason == RefusalReason::kInvalid);
  }
  REQUIRE(mallory.client->send(world.now, RelayRenewal{session.offer.session, RelayTransport::kUdp, {1}}));
  world.run();

  CHECK(gateway.saw<CandidateBatch>() == nullptr);
  CHECK(alice.saw<CandidateBatch>() == nullptr);
  CHECK(alice.saw<SessionEnd>() == nullptr);
  CHECK(last_of<RelayRequested>(world.hub_events) == nullptr);
  CHECK(last_of<RelayRenewalRequested>(world.hub_events) == nullptr);
  CHECK(world.hub->session_count() == 1);
  CHECK(world.hub->stats().stray_messages >= 11);
}

TEST_CASE("signal: clients hear of a gateway's restart and not of its load", "[natt][signal]") {
  SignalWorld world({"hq", "branch"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  SignalPeer& stranger = world.connect(Role::kClient, "alice", {}, "branch");
  REQUIRE(gateway.client->send(world.now, registration(1)));
  world.run();
  alice.events.clear();
  stranger.events.clear();

  auto busier = registration(1);
  busier.load.sessions = 50;
  REQUIRE(gateway.client->send(world.now, busier));
  world.run();
  CHECK(alice.saw<GatewayDirectory>() == nullptr);
  REQUIRE(gateway.client->send(world.now, registration(2)));
  world.run();
  REQUIRE(alice.saw<GatewayDirectory>() != nullptr);
  CHECK(alice.saw<GatewayDirectory>()->entries[0].registration.boot_id == 2);
  CHECK(stranger.saw<GatewayDirectory>() == nullptr);
}

TEST_CASE("signal: a session report is counted for the client that made it", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const SessionId session = SessionId::make(world.random);

  REQUIRE(alice.client->send(world.now, SessionReport{.session = session,
                                                      .gateway = {"hq", Role::kGateway, "gw1"},
                                                      .type = ConnectionType::kRelay,
                                                      .reason = RelayReason::kHardNatBoth,
                                                      .ended = false}));
  world.run();

  const auto* reported = last_of<SessionReported>(world.hub_events);
  REQUIRE(reported != nullptr);
  CHECK(reported->key == SessionKey{"hq", session});
  CHECK(reported->client == alice.identity);
  CHECK(reported->type == ConnectionType::kRelay);
  CHECK(reported->reason == RelayReason::kHardNatBoth);
}

TEST_CASE("signal: a gateway hears of a client that broke off, not of one that came back or went quiet",
          "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  const SessionReport report{.session = SessionId::make(world.random),
                             .gateway = gateway.identity,
                             .type = ConnectionType::kDirect,
                             .reason = {},
                             .ended = false};
  const auto connect_and_report = [&]() -> SignalPeer& {
    SignalPeer& alice = world.connect(Role::kClient, "alice");
    REQUIRE(alice.client->send(world.now, report));
    world.run();
    return alice;
  };

  connect_and_report();
  SignalPeer& newer = connect_and_report();  // takes over from the first
  CHECK(gateway.saw<PeerAbsent>() == nullptr);
  newer.attached = false;
  world.advance(2min);  // goes quiet
  CHECK_FALSE(world.hub->is_online(newer.identity));
  CHECK(gateway.saw<PeerAbsent>() == nullptr);
  world.cut(connect_and_report());

  REQUIRE(gateway.saw<PeerAbsent>() != nullptr);
  CHECK(gateway.saw<PeerAbsent>()->client == newer.identity);
}

TEST_CASE("signal: a drain is announced and ends what stays", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");

  world.hub->drain(world.now, 5s);
  world.run();

  CHECK(alice.saw<DrainNotice>()->within == 5s);
  CHECK_FALSE(world.hub->is_drained());
  CHECK(world.connect(Role::kGateway, "gw1").is_open() == false);
  world.advance(6s);
  CHECK(world.hub->is_drained());
  CHECK(alice.end_reason() == "the broker closed the channel");
}

TEST_CASE("signal: a device hears the broker's clock with the answer to each ping", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  REQUIRE(alice.is_open());
  CHECK(std::chrono::abs(alice.saw<SignalConnected>()->clock_offset) <= 500ms);
  CHECK(alice.saw<ClockObserved>() == nullptr);
  world.advance(26s);
  REQUIRE(alice.saw<ClockObserved>() != nullptr);
  CHECK(std::chrono::abs(alice.saw<ClockObserved>()->clock_offset) <= 500ms);

  for (const std::chrono::milliseconds ahead : {std::chrono::milliseconds(1h), std::chrono::milliseconds(-1h)}) {
    world.broker_ahead = ahead;
    world.advance(26s);
    CHECK(std::chrono::abs(alice.saw<ClockObserved>()->clock_offset - ahead) <= 500ms);
  }
  CHECK(alice.is_open());

  // Also where the broker says something all the time.
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1", {.boot_id = 77});
  world.broker_ahead = std::chrono::milliseconds(2h);
  for (std::uint32_t i = 0; i < 13; ++i) {
    GatewayRegistration changed = registration(77);
    changed.load.sessions = i;
    REQUIRE(gateway.client->send(world.now, changed));
    world.run();
    world.advance(2s);
  }
  CHECK(std::chrono::abs(alice.saw<ClockObserved>()->clock_offset - std::chrono::milliseconds(2h)) <= 500ms);
}
