// SPDX-License-Identifier: Apache-2.0
// What a broker and its peers do with those who break the rules.

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>
#include <natt/tls_stream.h>

#include "support/signal_world.h"

using namespace natt;
using namespace std::chrono_literals;
using natt::test::last_of;
using natt::test::PeerOptions;
using natt::test::SignalPeer;
using natt::test::SignalWorld;

namespace {

std::string hub_reason(const SignalWorld& world) {
  const auto* closed = last_of<ChannelClosed>(world.hub_events);
  return closed == nullptr ? "" : closed->reason.message;
}

// A device that speaks TLS correctly and then says whatever the test wants.
class RawPeer {
 public:
  RawPeer(SignalWorld& world, Role role, const std::string& name) : world_(world), peer_(world.prepare(role, name)) {
    const PeerExpectation broker{.site = "hq", .role = Role::kBroker, .identity = std::nullopt};
    tls_ = std::move(*TlsStream::connect(*peer_.tls, broker, world.wall));
    const ByteBuffer hello = tls_->take_ciphertext();
    ByteBuffer first = peer_.knocker->make_tcp_hello(world.wall, peer_.knocker->next_knock_id(), hello);
    first.insert(first.end(), hello.begin(), hello.end());
    channel_ = world.open_raw(first);
    exchange();
  }

  void write(ByteView plaintext) {
    tls_->write(plaintext);
    exchange();
  }
  void send(const SignalMessage& message) { write(framed(*serialize_signal(message))); }

  [[nodiscard]] static ByteBuffer framed(ByteView body) {
    ByteBuffer out;
    ByteWriter writer(out);
    writer.write(static_cast<std::uint32_t>(body.size()));
    writer.write_bytes(body);
    return out;
  }
  [[nodiscard]] bool is_ended() const { return world_.refused.contains(channel_); }

 private:
  void exchange() {
    for (int round = 0; round < 4; ++round) {
      tls_->handle_bytes(std::exchange(world_.raw_output[channel_], {}));
      const ByteBuffer out = tls_->take_ciphertext();
      if (!out.empty() && !is_ended()) world_.feed(channel_, out);
    }
  }

  SignalWorld& world_;
  SignalPeer& peer_;
  std::unique_ptr<TlsStream> tls_;
  ChannelId channel_;
};

ByteBuffer first_flight(SignalPeer& peer, const SignalWorld& world) { return *peer.client->first_flight(world.wall); }

}  // namespace

TEST_CASE("signal: the certificate has to be the one of the SPA identity", "[natt][signal]") {
  SignalWorld world({"hq", "branch"});
  static_cast<void>(world.pki().device(Role::kClient, "bob"));
  world.publish();
  natt::test::TestPki namesake("hq", 99);
  const auto refused_with = [&](PeerOptions options) {
    world.hub_events.clear();
    SignalPeer& peer = world.connect(Role::kClient, "alice", options);
    CHECK_FALSE(peer.saw<SignalConnected>());
    CHECK(last_of<ChannelOpened>(world.hub_events) == nullptr);
    CHECK(peer.client->state() == SignalClient::State::kClosed);
    return hub_reason(world);
  };
  const Identity alice = world.pki().identity(Role::kClient, "alice");

  CHECK(refused_with({.credentials = world.pki().credentials(Role::kClient, "bob"), .spa_identity = alice}) ==
        "wrong identity: expected spiffe://hq/client/alice, the peer is spiffe://hq/client/bob");
  CHECK(refused_with({.credentials = world.pki().credentials(Role::kGateway, "gw1"), .spa_identity = alice}) ==
        "wrong role: expected a client, the peer is spiffe://hq/gateway/gw1");
  // Of another CA: the client refuses the broker before the broker sees its certificate.
  CHECK(refused_with({.credentials = namesake.credentials(Role::kClient, "alice")}) ==
        "the peer trusts another CA than the one of this certificate");
  CHECK(refused_with({.credentials = world.pki("branch").credentials(Role::kClient, "alice"), .spa_identity = alice})
            .find("the peer") == 0);
  CHECK(
      refused_with({.credentials = world.pki().credentials_at(Role::kClient, "alice", natt::test::kTestNow - 48h, 24h)})
          .find("expired at") != std::string::npos);
  CHECK(world.hub->stats().handshakes_failed == 5);
  CHECK(world.hub->channel_count() == 0);
}

TEST_CASE("signal: a device that the roster does not admit gets no channel", "[natt][signal]") {
  SignalWorld world({"hq"});
  const Credentials stolen = world.pki().credentials_at(Role::kClient, "alice", natt::test::kTestNow, 24h);
  SECTION("never listed") {
    // The site's PKI lists who it makes credentials for, so this one is made aside.
    const Credentials unlisted = world.pki().credentials_at(Role::kClient, "eve", natt::test::kTestNow, 24h);
    SignalPeer& eve = world.connect(Role::kClient, "eve", {.credentials = unlisted});
    CHECK_FALSE(eve.saw<SignalConnected>());
    CHECK(hub_reason(world) == "roster 1 does not list spiffe://hq/client/eve");
  }
  SECTION("the certificate is revoked, the device has a new one") {
    Roster roster = world.pki().roster(2);
    roster.revoked.push_back({stolen.serial(), stolen.identity()});
    world.publish("hq", roster);
    SignalPeer& thief = world.connect(Role::kClient, "alice", {.credentials = stolen});
    CHECK_FALSE(thief.saw<SignalConnected>());
    CHECK(hub_reason(world) == "roster 2 revokes this certificate of spiffe://hq/client/alice");
    CHECK(world.connect(Role::kClient, "alice").is_open());
  }
}

TEST_CASE("signal: revocation ends the channel and the sessions at once", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const SessionId session = SessionId::make(world.random);
  world.hub->restore_session(world.now, {"hq", session}, alice.identity, gateway.identity);
  Roster roster = world.pki().roster(2);
  std::erase_if(roster.devices, [&](const RosterDevice& device) { return device.identity == alice.identity; });

  world.publish("hq", roster);

  CHECK_FALSE(alice.is_open());
  CHECK(hub_reason(world) == "roster 2 does not list spiffe://hq/client/alice");
  CHECK(last_of<DeviceRevoked>(world.hub_events)->identity == alice.identity);
  CHECK(last_of<SessionClosed>(world.hub_events)->reason == SessionEndReason::kRevoked);
  CHECK(gateway.saw<SessionEnd>()->reason == SessionEndReason::kRevoked);
  CHECK(gateway.is_open());
  CHECK(world.hub->session_count() == 0);
  REQUIRE(gateway.saw<RosterReceived>() != nullptr);
  CHECK(gateway.saw<RosterReceived>()->number == 2);
  CHECK(gateway.saw<RosterReceived>()->view == RosterView::kFull);
}

TEST_CASE("signal: revoking a device in its handshake ends the handshake", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  alice.reads = false;
  world.open(alice, first_flight(alice, world));
  REQUIRE(world.hub->channel_count() == 1);
  Roster roster = world.pki().roster(2);
  std::erase_if(roster.devices, [&](const RosterDevice& device) { return device.identity == alice.identity; });

  world.publish("hq", roster);

  CHECK(world.hub->channel_count() == 0);
}

TEST_CASE("signal: a rotated certificate keeps its new channel when the old serial is revoked", "[natt][signal]") {
  SignalWorld world({"hq"});
  const Credentials old = world.pki().credentials_at(Role::kClient, "alice", natt::test::kTestNow, 24h);
  SignalPeer& before = world.connect(Role::kClient, "alice", {.credentials = old});
  REQUIRE(before.is_open());
  SignalPeer& after = world.connect(Role::kClient, "alice");
  CHECK_FALSE(before.is_open());  // the newer channel took over
  CHECK(world.hub->channel_count() == 1);
  Roster roster = world.pki().roster(2);
  roster.revoked.push_back({old.serial(), old.identity()});

  world.publish("hq", roster);

  CHECK(after.is_open());
  CHECK(last_of<DeviceRevoked>(world.hub_events) == nullptr);
}

TEST_CASE("signal: messages out of order or of the wrong role end the channel", "[natt][signal]") {
  SignalWorld world({"hq"});
  const SessionId session = SessionId::make(world.random);
  struct Row {
    Role role;
    std::vector<SignalMessage> messages;
    const char* reason;
  };
  const Row rows[] = {
      {Role::kClient, {Ping{1}}, "ping is out of order"},
      {Role::kClient, {OfferMessage{session, {"hq", Role::kGateway, "gw1"}, {1}}}, "offer is out of order"},
      {Role::kClient, {SignalHello{}, SignalHello{}}, "hello is out of order"},
      {Role::kClient, {SignalHello{}, GatewayRegistration{}}, "a client does not send gateway-registration"},
      {Role::kClient, {SignalHello{}, AnswerMessage{session, {}, {1}}}, "a client does not send answer"},
      {Role::kClient, {SignalWelcome{}}, "a client does not send welcome"},
      {Role::kClient, {SignalHello{}, Pong{}}, "a client does not send pong"},
      {Role::kClient, {SignalHello{}, PunchStart{session, natt::test::kTestNow}}, "a client does not send punch-start"},
      {Role::kClient, {SignalHello{}, DrainNotice{}}, "a client does not send drain-notice"},
      {Role::kGateway,
       {SignalHello{}, OfferMessage{session, {"hq", Role::kGateway, "gw1"}, {1}}},
       "a gateway does not send offer"},
      {Role::kGateway,
       {SignalHello{}, SessionReport{session, {"hq", Role::kGateway, "gw1"}, {}, {}, false}},
       "a gateway does not send session-report"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.reason);
    RawPeer peer(world, row.role, row.role == Role::kClient ? "alice" : "gw1");
    REQUIRE_FALSE(peer.is_ended());

    for (const SignalMessage& message : row.messages) peer.send(message);

    CHECK(peer.is_ended());
    CHECK(hub_reason(world) == row.reason);
  }
  CHECK(world.hub->stats().protocol_errors == std::size(rows));
  CHECK(world.hub->channel_count() == 0);
}

TEST_CASE("signal: oversized and malformed messages end the channel, unknown ones do not", "[natt][signal]") {
  SignalWorld world({"hq"});
  RawPeer peer(world, Role::kClient, "alice");
  peer.send(SignalHello{});
  REQUIRE_FALSE(peer.is_ended());

  SECTION("a length above the limit, before a byte of the body") {
    peer.write(ByteBuffer{0x00, 0x01, 0x00, 0x01});
    CHECK(hub_reason(world) == "a message of 65537 octets is larger than 65536");
  }
  SECTION("no protobuf") {
    peer.write(RawPeer::framed(ByteBuffer{0xff, 0xff, 0xff}));
    CHECK(hub_reason(world) == "a message is no protobuf or too large");
  }
  SECTION("a session id of 15 octets") {
    // session_end (field 11) { session (field 1): 15 octets, reason: 1 }
    ByteBuffer body{0x5a, 0x13, 0x0a, 0x0f};
    body.insert(body.end(), 15, 0x11);
    body.insert(body.end(), {0x10, 0x01});
    peer.write(RawPeer::framed(body));
    CHECK(hub_reason(world) == "a message of kind 11 has an invalid value");
  }
  SECTION("a kind from the future and an empty message are skipped") {
    // field 1000, one octet
    peer.write(RawPeer::framed(ByteBuffer{0xc2, 0x3e, 0x01, 0x2a}));
    peer.write(RawPeer::framed({}));
    CHECK(world.hub->stats().messages_ignored == 2);
    CHECK_FALSE(peer.is_ended());
    return;
  }
  SECTION("a message that comes an octet at a time is one message") {
    const ByteBuffer ping = RawPeer::framed(*serialize_signal(Ping{7}));
    const auto before = world.hub->stats().messages_in;
    for (const std::uint8_t octet : ping) peer.write(ByteBuffer{octet});
    CHECK(world.hub->stats().messages_in == before + 1);
    CHECK_FALSE(peer.is_ended());
    return;
  }
  CHECK(peer.is_ended());
}

TEST_CASE("signal: a flood of messages ends the channel", "[natt][signal]") {
  SignalWorld world({"hq"}, {.messages_per_second = 10, .message_burst = 20});
  RawPeer peer(world, Role::kClient, "alice");
  peer.send(SignalHello{});
  for (int i = 0; i < 19; ++i) peer.send(RosterAck{1});
  CHECK_FALSE(peer.is_ended());

  peer.send(RosterAck{1});

  CHECK(peer.is_ended());
  CHECK(hub_reason(world) == "too many messages");
}

TEST_CASE("signal: a peer that does not read is cut off when its queue is full", "[natt][signal]") {
  SignalWorld world({"hq"}, {.max_send_queue = 64 * 1024});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  const SessionId session = SessionId::make(world.random);
  world.hub->restore_session(world.now, {"hq", session}, alice.identity, gateway.identity);
  gateway.reads = false;
  CandidateBatch batch{.session = session, .candidates = {}, .last = false, .vouched = {}};
  batch.candidates.assign(kMaxSignalCandidates, {.address = *SocketAddress::parse("192.0.2.1:1"), .base = {}});

  int sent = 0;
  while (last_of<ChannelClosed>(world.hub_events) == nullptr && sent < 1000) {
    if (alice.client->send(world.now, batch)) ++sent;
    world.advance(10ms, 10ms);
  }

  CHECK(sent > 40);
  CHECK(sent < 100);
  CHECK(hub_reason(world) == "the send queue is full: the peer reads too slowly");
  CHECK(last_of<ChannelClosed>(world.hub_events)->identity == gateway.identity);
  CHECK(world.hub->stats().slow_peers == 1);
  CHECK(alice.is_open());
}

TEST_CASE("signal: a client's own queue is bounded while the broker does not read", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  alice.attached = false;
  KeyRenewal renewal{.payload = ByteBuffer(30'000, 1)};

  int sent = 0;
  while (alice.client->send(world.now, renewal)) ++sent;

  CHECK(sent == 8);
  CHECK(alice.client->send(world.now, renewal).error().code == Errc::kLimit);
  CHECK(alice.is_open());
}

TEST_CASE("signal: handshakes are timed and counted per identity", "[natt][signal]") {
  SignalWorld world({"hq"});
  std::vector<SignalPeer*> slow;
  for (int i = 0; i < 4; ++i) {
    SignalPeer& peer = world.prepare(Role::kClient, "alice");
    peer.reads = false;
    world.open(peer, first_flight(peer, world));
    slow.push_back(&peer);
  }
  CHECK(world.hub->channel_count() == 3);
  CHECK(world.refused.contains(slow[3]->channel));
  CHECK(world.hub->stats().handshakes_refused == 1);
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1");  // another identity is not held up
  CHECK(gateway.is_open());

  world.advance(4900ms, 100ms);
  CHECK(world.hub->channel_count() == 4);
  world.advance(200ms, 100ms);

  CHECK(world.hub->channel_count() == 1);
  CHECK(hub_reason(world) == "the handshake was not finished in time");
  CHECK(world.connect(Role::kClient, "alice").is_open());
}

TEST_CASE("signal: a TLS handshake without hello does not stay", "[natt][signal]") {
  SignalWorld world({"hq"});
  RawPeer peer(world, Role::kClient, "alice");

  world.advance(5100ms, 100ms);

  CHECK(peer.is_ended());
  CHECK(hub_reason(world) == "the handshake was not finished in time");
}

TEST_CASE("signal: keepalive holds an idle channel, and both ends notice a dead one", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");
  world.advance(10min);
  REQUIRE(alice.is_open());
  REQUIRE(world.hub->channel_count() == 1);

  alice.attached = false;
  world.advance(35s);
  CHECK(alice.end_reason() == "the broker does not answer any more");
  world.advance(71s);
  CHECK(world.hub->channel_count() == 0);
  CHECK(hub_reason(world) == "nothing was heard of the peer");
}

TEST_CASE("signal: a client gives up on a broker that is silent or slow", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& silent = world.prepare(Role::kClient, "alice");
  world.advance(5s);
  CHECK(silent.end_reason() == "the broker did not answer");
  CHECK_FALSE(silent.client->next_deadline());
  CHECK(silent.client->first_flight(world.wall).error().code == Errc::kClosed);
  CHECK(silent.client->send(world.now, Ping{}).error().code == Errc::kClosed);
}

TEST_CASE("signal: a client accepts only the broker it went to", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  SignalClientOptions options{.self = alice.identity, .broker = world.pki().identity(Role::kBroker, "b2")};
  alice.client =
      std::move(*SignalClient::make(options, *alice.tls, *alice.knocker, world.random, world.now, world.wall));

  world.open(alice, first_flight(alice, world));

  CHECK(alice.end_reason() == "wrong identity: expected spiffe://hq/broker/b2, the peer is spiffe://hq/broker/b1");
  CHECK(hub_reason(world) == "the peer expects another identity than this device's");
}

TEST_CASE("signal: a client refuses a broker whose certificate was revoked", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  RosterStore store(world.pki().ca(), RosterView::kClient);
  Roster roster = world.pki().roster(5);
  const Credentials& broker = world.pki().credentials(Role::kBroker, "b1");
  roster.revoked.push_back({broker.serial(), broker.identity()});
  REQUIRE(store.handle_roster(*world.pki().authority().sign_roster(roster)));
  SignalClientOptions options{.self = alice.identity, .broker = broker.identity(), .roster = &store};
  alice.client =
      std::move(*SignalClient::make(options, *alice.tls, *alice.knocker, world.random, world.now, world.wall));

  world.open(alice, first_flight(alice, world));

  CHECK(alice.end_reason() == "roster 5 revokes this certificate of spiffe://hq/broker/b1");
}

TEST_CASE("signal: a large roster arrives in pieces while other messages pass", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& gateway = world.connect(Role::kGateway, "gw1", {.roster_number = 1});
  SignalPeer& alice = world.connect(Role::kClient, "alice", {.roster_number = 1});
  CHECK(gateway.saw<RosterReceived>() == nullptr);
  for (int i = 0; i < 6000; ++i) static_cast<void>(world.pki().device(Role::kClient, "c" + std::to_string(i)));

  world.publish();

  REQUIRE(gateway.saw<RosterReceived>() != nullptr);
  const ByteBuffer& document = gateway.saw<RosterReceived>()->document;
  CHECK(document.size() > 256 * 1024);  // more than the send queue
  CHECK(document == world.store().documents().full);
  CHECK(alice.saw<RosterReceived>()->document == world.store().documents().client);
  CHECK(world.hub->stats().slow_peers == 0);
  REQUIRE(gateway.client->send(world.now, RosterAck{2}));
  world.run();
  CHECK(last_of<RosterAcknowledged>(world.hub_events)->number == 2);
  CHECK(world.connect(Role::kClient, "alice", {.roster_number = 1}).saw<RosterReceived>()->number == 2);
}

TEST_CASE("signal: a client that sends a foreign command is told, and nothing leaves", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.connect(Role::kClient, "alice");

  CHECK(alice.client->send(world.now, GatewayRegistration{}).error().code == Errc::kRefused);
  CHECK(alice.client->send(world.now, SignalHello{}).error().code == Errc::kRefused);
  CandidateBatch batch{};
  batch.candidates.resize(kMaxSignalCandidates + 1);
  CHECK(alice.client->send(world.now, batch).error().code == Errc::kLimit);
  CHECK(alice.client->take_output().empty());
}
