// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_admission.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "support/signal_world.h"

using namespace natt;
using namespace std::chrono_literals;
using natt::test::SignalPeer;
using natt::test::SignalWorld;

namespace {

// Nothing was sent on the channel and the broker made no TLS object for it.
void check_silent(SignalWorld& world, ChannelId channel) {
  CHECK_FALSE(world.raw_output.contains(channel));
  CHECK(world.hub->stats().handshakes_started == 0);
}

}  // namespace

TEST_CASE("admission: a stranger is read to nowhere and closed after 30 to 90 seconds", "[natt][signal]") {
  SignalWorld world({"hq"});

  const ChannelId stranger = world.open_raw(as_bytes("GET / HTTP/1.1\r\nHost: broker\r\n\r\n"));
  for (int i = 0; i < 100; ++i) world.feed(stranger, ByteBuffer(1000, 0x16));

  check_silent(world, stranger);
  CHECK(world.admission->stats().rejected_shape == 1);
  world.advance(29s);
  CHECK_FALSE(world.refused.contains(stranger));
  world.advance(62s);
  CHECK(world.refused.contains(stranger));
  check_silent(world, stranger);
  CHECK_FALSE(world.admission->next_deadline());
}

TEST_CASE("admission: one that says nothing, or half of it, is silenced after three seconds", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer flight = *alice.client->first_flight(world.wall);
  const ChannelId mute = world.open_raw({});
  const ChannelId half = world.open_raw(ByteView(flight).first(flight.size() - 1));

  world.advance(3s);

  CHECK(world.admission->stats().timed_out == 2);
  world.feed(half, ByteView(flight).last(1));
  check_silent(world, mute);
  check_silent(world, half);
  CHECK(world.admission->stats().admitted == 0);
}

TEST_CASE("admission: every flipped bit of the frame or of the hello is a stranger's", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer flight = *alice.client->first_flight(world.wall);
  const std::size_t record1 = 5u + load_be<std::uint16_t>(&flight[3]);
  // The frame is the random and the session id of record 1, all of record 2 is bound to it.
  for (std::size_t at = 0; at < flight.size(); at += at >= 11 && at < 76 ? 1 : 23) {
    if (at < record1 && !(at >= 11 && at < 43) && !(at >= 44 && at < 76)) continue;
    CAPTURE(at);
    ByteBuffer bad = flight;
    bad[at] = static_cast<std::uint8_t>(bad[at] ^ 0x04);

    const ChannelId channel = world.open_raw(bad);

    check_silent(world, channel);
  }
  CHECK(world.admission->stats().admitted == 0);
  // The genuine one was not used up by them.
  CHECK(world.admission->stats().rejected_verdict + world.admission->stats().rejected_shape +
            world.admission->stats().accepted >
        64);
  world.open(alice, flight);
  CHECK(alice.is_open());
}

TEST_CASE("admission: a replayed flight opens nothing", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer flight = *alice.client->first_flight(world.wall);
  world.open(alice, flight);
  REQUIRE(alice.is_open());

  const ChannelId replay = world.open_raw(flight);

  CHECK_FALSE(world.raw_output.contains(replay));
  CHECK(world.hub->stats().handshakes_started == 1);
  CHECK(world.admission->stats().rejected_verdict == 1);
}

TEST_CASE("admission: a second attempt of the same client has a fresh frame over the same hello", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer first = *alice.client->first_flight(world.wall);
  const ByteBuffer second = *alice.client->first_flight(world.wall);
  CHECK(first != second);
  CHECK(first.size() == second.size());
  static_cast<void>(world.open_raw(first));  // this SYN's connection is lost to the client

  world.open(alice, second);

  CHECK(alice.is_open());
}

TEST_CASE("admission: an octet at a time is as good as at once", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer flight = *alice.client->first_flight(world.wall);
  world.open(alice, {});

  for (const std::uint8_t octet : flight) world.feed(alice.channel, ByteBuffer{octet});

  CHECK(alice.is_open());
}

TEST_CASE("admission: a member that the policy does not want is a stranger, whatever it shows", "[natt][signal]") {
  struct OnlyAlice final : AdmissionPolicy {
    mutable std::vector<std::pair<std::string, Admitted::Purpose>> asked;
    bool admits(const Identity& identity, Admitted::Purpose purpose) const override {
      asked.emplace_back(identity.name, purpose);
      return identity.name == "alice";
    }
  } policy;
  SignalWorld world({"hq"});
  world.ask(policy);
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  SignalPeer& gateway = world.prepare(Role::kGateway, "gw1");

  world.open(gateway, *gateway.client->first_flight(world.wall));

  check_silent(world, gateway.channel);
  CHECK(world.admission->stats().rejected_verdict == 1);
  CHECK(world.admission->stats().silenced == 1);
  CHECK(world.admission->stats().admitted == 0);
  world.open(alice, *alice.client->first_flight(world.wall));
  CHECK(alice.is_open());
  constexpr auto kSignaling = Admitted::Purpose::kSignaling;
  using Asked = std::pair<std::string, Admitted::Purpose>;
  CHECK(policy.asked == std::vector<Asked>{{"gw1", kSignaling}, {"alice", kSignaling}});
  // No frame, no question.
  static_cast<void>(world.open_raw(ByteBuffer(2000, 0x16)));
  CHECK(policy.asked.size() == 2);
  world.advance(91s);
  CHECK(world.admission->stats().pending == 0);
}

TEST_CASE("admission: the SPA identity chooses the site", "[natt][signal]") {
  SignalWorld world({"hq", "branch"});

  SignalPeer& in_hq = world.connect(Role::kClient, "alice");
  SignalPeer& in_branch = world.connect(Role::kClient, "alice", {}, "branch");

  CHECK(in_hq.is_open());
  CHECK(in_branch.is_open());
  CHECK(world.hub->is_online({"hq", Role::kClient, "alice"}));
  CHECK(world.hub->is_online({"branch", Role::kClient, "alice"}));
}

TEST_CASE("admission: a relay join is handed over with its token and never reaches TLS", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const spa::PairingToken token{1, 2, 3};
  const auto hello = alice.knocker->make_relay_join(world.wall, alice.knocker->next_knock_id(), token);
  const ChannelId channel{5000};
  REQUIRE(world.admission->handle_accepted(world.now, channel, *SocketAddress::parse("203.0.113.5:1")));
  world.admission->handle_bytes(world.now, world.wall, channel, hello.record1);
  ByteBuffer rest = hello.record2;
  rest.insert(rest.end(), {7, 8, 9});
  world.admission->handle_bytes(world.now, world.wall, channel, rest);

  const auto event = world.admission->poll_event();

  REQUIRE(event);
  const auto& admitted = std::get<Admitted>(*event);
  CHECK(admitted.purpose == Admitted::Purpose::kRelayJoin);
  CHECK(admitted.identity == alice.identity);
  CHECK(spa::parse_pairing_record(admitted.record) == token);
  CHECK(admitted.rest == ByteBuffer{7, 8, 9});
}

TEST_CASE("admission: the table is bounded, and failed connections make room first", "[natt][signal]") {
  SignalWorld world({"hq"});
  spa::VerifierGroup none;
  SignalAdmission admission({.max_pending = 3}, none, world.grants, world.random);
  const SocketAddress remote = *SocketAddress::parse("203.0.113.5:1");
  for (const std::uint64_t id : {1u, 2u, 3u}) REQUIRE(admission.handle_accepted(world.now, {id}, remote));
  admission.handle_bytes(world.now, world.wall, {2}, as_bytes("nonsense"));

  CHECK(admission.handle_accepted(world.now, {4}, remote));
  const auto failed = std::get<CloseConnection>(*admission.poll_event());
  CHECK(failed.channel == ChannelId{2});
  CHECK(failed.at_once);
  // Nobody has failed: the oldest that has shown no frame goes.
  CHECK(admission.handle_accepted(world.now + 1ms, {5}, remote));
  CHECK(std::get<CloseConnection>(*admission.poll_event()).channel == ChannelId{1});
  admission.handle_disconnected({3});
  CHECK(admission.handle_accepted(world.now + 2ms, {6}, remote));
  CHECK_FALSE(admission.poll_event());
  CHECK(admission.stats().overflow == 2);
  CHECK(admission.stats().pending == 3);
}

TEST_CASE("admission: a flood of mute connections does not push out one that shows a frame", "[natt][signal]") {
  SignalWorld world({"hq"});
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ByteBuffer flight = *alice.client->first_flight(world.wall);
  const SocketAddress remote = *SocketAddress::parse("203.0.113.5:1");
  auto& admission = *world.admission;
  REQUIRE(admission.handle_accepted(world.now, {900'000}, remote));
  admission.handle_bytes(world.now, world.wall, {900'000}, ByteView(flight).first(flight.size() - 1));
  for (std::uint64_t id = 1; id <= 10'000; ++id) {
    CHECK(admission.handle_accepted(world.now, {100'000 + id}, remote));
  }
  CHECK(admission.stats().pending == SignalAdmissionOptions{}.max_pending);
  while (const auto event = admission.poll_event()) CHECK(std::get<CloseConnection>(*event).at_once);

  admission.handle_bytes(world.now, world.wall, {900'000}, ByteView(flight).last(1));

  CHECK(std::get<Admitted>(*admission.poll_event()).channel == ChannelId{900'000});
}

TEST_CASE("admission: copies of a member's first record do not close the door for others", "[natt][signal]") {
  SignalWorld world({"hq"});
  const ByteBuffer copied = *world.prepare(Role::kClient, "alice").client->first_flight(world.wall);
  const ByteBuffer honest = *world.prepare(Role::kClient, "bob").client->first_flight(world.wall);
  const std::size_t record1 = 5 + load_be<std::uint16_t>(copied.data() + 3);
  const SocketAddress remote = *SocketAddress::parse("203.0.113.5:1");
  auto& admission = *world.admission;
  for (std::uint64_t id = 1; id <= 2 * SignalAdmissionOptions{}.max_pending; ++id) {
    REQUIRE(admission.handle_accepted(world.now, {id}, remote));
    admission.handle_bytes(world.now, world.wall, {id}, ByteView(copied).first(record1));
  }
  while (const auto event = admission.poll_event()) CHECK(std::get<CloseConnection>(*event).at_once);

  REQUIRE(admission.handle_accepted(world.now, {900'000}, remote));
  CHECK(std::get<CloseConnection>(*admission.poll_event()).at_once);
  admission.handle_bytes(world.now, world.wall, {900'000}, honest);

  CHECK(std::get<Admitted>(*admission.poll_event()).channel == ChannelId{900'000});
  CHECK(admission.stats().pending == SignalAdmissionOptions{}.max_pending - 1);
}

namespace {

// A broker in mode udp-tcp, and what its UDP side would tell it.
struct UdpTcpWorld : SignalWorld {
  UdpTcpWorld() : SignalWorld({"hq"}) { admission->set_wants_knock(now, true); }
  void knock(const Identity& who, const SocketAddress& from) {
    const spa::Grant grant{.identity = &who, .device = spa::DeviceId::of(who),
                           .flags = spa::kFlagTcpWanted | spa::kFlagUdpWanted};
    grants.on_knock(now, grant, from);
    admission->handle_knock(now, grant.device, from.ip);
    run();
  }
};

}  // namespace

TEST_CASE("admission: in mode udp-tcp a hello without a knock gets no octet", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  world.open(alice, *alice.client->first_flight(world.wall));
  world.advance(3s);

  check_silent(world, alice.channel);
  CHECK_FALSE(alice.is_open());
  CHECK(world.admission->stats().rejected_knock == 1);
  REQUIRE(world.knocks_missing.size() == 1);
  CHECK(world.knocks_missing[0].identity == alice.identity);
  CHECK_FALSE(world.knocks_missing[0].knocked_from);
  // From here on it is like any failure: a late knock opens nothing, the end comes at a random time.
  world.knock(alice.identity, SignalWorld::kPeerAddress);
  check_silent(world, alice.channel);
  world.advance(26s);
  CHECK_FALSE(world.refused.contains(alice.channel));
  world.advance(65s);
  CHECK(world.refused.contains(alice.channel));
}

TEST_CASE("admission: in mode udp-tcp the knock may come before or after the hello", "[natt][signal][door]") {
  const bool before = GENERATE(true, false);
  CAPTURE(before);
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  if (before) world.knock(alice.identity, SignalWorld::kPeerAddress);
  world.open(alice, *alice.client->first_flight(world.wall));
  if (!before) {
    check_silent(world, alice.channel);
    world.advance(2500ms);
    world.knock(alice.identity, SignalWorld::kPeerAddress);
  }
  CHECK(alice.is_open());
  CHECK(world.grants.stats().redeemed == 1);
}

TEST_CASE("admission: a knock of somebody else, or from elsewhere, opens nothing", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  SignalPeer& bob = world.prepare(Role::kClient, "bob");
  world.knock(bob.identity, SignalWorld::kPeerAddress);
  world.knock(alice.identity, *SocketAddress::parse("192.0.2.77:1"));
  world.open(alice, *alice.client->first_flight(world.wall));
  world.advance(4s);

  check_silent(world, alice.channel);
  REQUIRE(world.knocks_missing.size() == 1);
  CHECK(world.knocks_missing[0].knocked_from == IpAddress::parse("192.0.2.77"));
}

TEST_CASE("admission: a knock is no help to somebody without a hello", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const ChannelId neighbour = world.open_raw(as_bytes("\x16\x03\x01 something else"));
  world.knock(alice.identity, SignalWorld::kPeerAddress);
  check_silent(world, neighbour);
}

TEST_CASE("admission: a hello that waits for its knock ends with its device", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  world.open(alice, *alice.client->first_flight(world.wall));

  world.admission->remove_device(world.now, spa::DeviceId::of(alice.identity));
  world.admission->set_wants_knock(world.now, false);
  world.run();

  check_silent(world, alice.channel);
  world.advance(91s);
  CHECK(world.refused.contains(alice.channel));
}

TEST_CASE("admission: changing the mode to tcp admits what waits for a knock", "[natt][signal][door]") {
  UdpTcpWorld world;
  for (const char* name : {"bob", "carol"}) static_cast<void>(world.pki().device(Role::kClient, name));
  world.publish();
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  world.open(alice, *alice.client->first_flight(world.wall));
  check_silent(world, alice.channel);

  world.admission->set_wants_knock(world.now, false);
  world.run();

  CHECK(alice.is_open());
  SignalPeer& bob = world.connect(Role::kClient, "bob");
  CHECK(bob.is_open());
  world.admission->set_wants_knock(world.now, true);
  SignalPeer& carol = world.connect(Role::kClient, "carol");
  CHECK_FALSE(carol.is_open());
  world.knock(carol.identity, SignalWorld::kPeerAddress);
  CHECK(carol.is_open());
}

TEST_CASE("admission: a connection that leaves while its hello is held leaves nothing", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  world.open(alice, *alice.client->first_flight(world.wall));
  world.admission->handle_disconnected(alice.channel);
  world.knock(alice.identity, SignalWorld::kPeerAddress);
  CHECK_FALSE(alice.is_open());
  CHECK(world.admission->stats().pending == 0);
  CHECK_FALSE(world.admission->next_deadline());
}

TEST_CASE("admission: what comes behind a relay join that waits for its knock is kept", "[natt][signal][door]") {
  UdpTcpWorld world;
  SignalPeer& alice = world.prepare(Role::kClient, "alice");
  const auto hello = alice.knocker->make_relay_join(world.wall, spa::KnockId{0}, {4, 5, 6});
  const ChannelId channel{5000};
  REQUIRE(world.admission->handle_accepted(world.now, channel, SignalWorld::kPeerAddress));
  const auto feed = [&](ByteView bytes) { world.admission->handle_bytes(world.now, world.wall, channel, bytes); };
  const auto knock = [&] {
    const spa::Grant grant{.identity = &alice.identity, .device = spa::DeviceId::of(alice.identity),
                           .type = spa::FrameType::kKnock, .flags = spa::kFlagTcpWanted, .knock_id = 0};
    world.grants.on_knock(world.now, grant, SignalWorld::kPeerAddress);
    world.admission->handle_knock(world.now, grant.device, SignalWorld::kPeerAddress.ip);
  };
  feed(hello.record1);
  CHECK_FALSE(world.admission->holds_join(channel));
  feed(hello.record2);
  CHECK(world.admission->holds_join(channel));
  CHECK_FALSE(world.admission->poll_event());
  SECTION("as it came") {
    feed(ByteBuffer{1, 2});
    feed(ByteBuffer{3});
    knock();
    const auto event = world.admission->poll_event();
    REQUIRE(event);
    CHECK(std::get<Admitted>(*event).rest == ByteBuffer{1, 2, 3});
    CHECK_FALSE(world.admission->holds_join(channel));
  }
  SECTION("as long as there is room") {
    feed(ByteBuffer(SignalAdmission::kMaxHeldBytes, 1));
    CHECK(world.admission->holds_join(channel));
    feed(ByteBuffer{1});
    CHECK_FALSE(world.admission->holds_join(channel));
    CHECK(world.admission->stats().rejected_knock == 1);
    knock();
    CHECK_FALSE(world.admission->poll_event());
  }
}
