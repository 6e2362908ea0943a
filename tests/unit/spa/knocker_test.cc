// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/knock_schedule.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "spa_site.h"

using namespace natt;
using std::chrono::milliseconds;
using test::OneClientSite;

TEST_CASE("spa knocker: a UDP knock is granted with its device, type and flags", "[spa][knocker]") {
  OneClientSite site;
  const auto id = site.alice_knocker->next_knock_id();
  const auto grant = site.knock(*site.broker_verifier, site.alice_knocker->make_udp_knock(site.wall, id));

  REQUIRE(grant);
  CHECK(*grant->identity == site.alice);
  CHECK(grant->device == spa::DeviceId::of(site.alice));
  CHECK(grant->type == spa::FrameType::kKnock);
  CHECK((grant->flags & spa::kFlagUdpWanted) != 0);
  CHECK((grant->flags & spa::kFlagAddressBound) == 0);
  CHECK(grant->transport == spa::Transport::kUdp);
  CHECK(grant->knock_id == static_cast<std::uint16_t>(id));
  CHECK(grant->key_generation == 1);
  CHECK(grant->timestamp == site.wall);
  CHECK(grant->novelty == spa::Novelty::kFirst);
}

TEST_CASE("spa knocker: consecutive knocks have different ids and different frames", "[spa][knocker]") {
  OneClientSite site;
  const auto first = site.alice_knocker->next_knock_id();
  const auto second = site.alice_knocker->next_knock_id();

  CHECK(first != second);
  CHECK(site.alice_knocker->make_udp_knock(site.wall, first) != site.alice_knocker->make_udp_knock(site.wall, first));
}

TEST_CASE("spa knocker: a TCP hello opens only in front of its own ClientHello", "[spa][knocker]") {
  OneClientSite site;
  const ByteBuffer hello{0x16, 0x03, 0x01, 0x00, 0x03, 1, 2, 3};
  ByteBuffer stream = site.alice_knocker->make_tcp_hello(site.wall, site.alice_knocker->next_knock_id(), hello);
  const std::size_t record1 = stream.size();
  stream.insert(stream.end(), hello.begin(), hello.end());
  const bool stolen = GENERATE(false, true);
  if (stolen) stream.back() ^= 1;

  spa::TlsHelloReader reader(site.now);
  REQUIRE(reader.handle_bytes(site.now, stream) == record1);
  CHECK(site.broker_verifier->plausible(spa::Transport::kTcp, reader.frame()));
  CHECK(reader.handle_bytes(site.now, ByteView(stream).subspan(record1)) == hello.size());
  REQUIRE(reader.state() == spa::TlsHelloReader::State::kComplete);
  const auto grant =
      site.broker_verifier->verify(site.now, site.wall, spa::Transport::kTcp, reader.frame(),
                                   {.port = site.kPort, .binding = reader.binding(), .source = site.source});

  CHECK(grant.has_value() != stolen);
  CHECK(site.dropped(spa::DropReason::kBadTag) == (stolen ? 1 : 0));
}

TEST_CASE("spa knocker: a relay join is granted as such and carries its token", "[spa][knocker]") {
  OneClientSite site;
  const spa::PairingToken token = site.random.bytes<spa::kPairingTokenSize>();
  const auto join = site.alice_knocker->make_relay_join(site.wall, site.alice_knocker->next_knock_id(), token);

  spa::TlsHelloReader reader(site.now);
  CHECK(reader.handle_bytes(site.now, join.record1) == join.record1.size());
  CHECK(reader.handle_bytes(site.now, join.record2) == join.record2.size());
  REQUIRE(reader.state() == spa::TlsHelloReader::State::kComplete);
  const auto grant = site.broker_verifier->verify(site.now, site.wall, spa::Transport::kTcp, reader.frame(),
                                                  {.port = site.kPort, .binding = reader.binding()});

  REQUIRE(grant);
  CHECK(grant->type == spa::FrameType::kRelayJoin);
  CHECK(spa::parse_pairing_record(reader.record2()) == token);
}

TEST_CASE("spa knocker: frames of one knock on several carriers are charged once", "[spa][knocker]") {
  OneClientSite site;
  const auto id = site.alice_knocker->next_knock_id();
  const ByteBuffer dcid(8, 1);
  const spa::Frame token = site.alice_knocker->make_quic_token(site.wall, id, dcid, {});
  const auto on_udp = site.knock(*site.broker_verifier, site.alice_knocker->make_udp_knock(site.wall, id));
  const auto on_quic = site.broker_verifier->verify(site.now, site.wall, spa::Transport::kQuicToken, token,
                                                    {.binding = spa::ChannelBinding::of_connection_ids(dcid, {})});

  REQUIRE(on_udp);
  REQUIRE(on_quic);
  CHECK(on_udp->novelty == spa::Novelty::kFirst);
  CHECK(on_quic->novelty == spa::Novelty::kSameKnock);
}

TEST_CASE("spa knocker: a learnt offset corrects a clock that is an hour off", "[spa][knocker]") {
  OneClientSite site;
  const WallTime wrong = site.wall - std::chrono::hours(1);
  const auto id = site.alice_knocker->next_knock_id();
  CHECK_FALSE(site.knock(*site.broker_verifier, site.alice_knocker->make_udp_knock(wrong, id)));

  site.alice_knocker->set_clock_offset(std::chrono::hours(1));

  CHECK(site.knock(*site.broker_verifier, site.alice_knocker->make_udp_knock(wrong, id)));
}

TEST_CASE("spa knocker: a bound knock is refused from another address", "[spa][knocker]") {
  OneClientSite site;
  const auto own = GENERATE(true, false);
  site.alice_knocker->set_public_address(own ? site.source : IpAddress::v4({203, 0, 113, 9}));
  const auto grant = site.knock(*site.broker_verifier, site.fresh_knock());

  CHECK(grant.has_value() == own);
  if (grant) CHECK((grant->flags & spa::kFlagAddressBound) != 0);
  CHECK(site.dropped(spa::DropReason::kWrongAddress) == (own ? 0 : 1));
}

TEST_CASE("spa knocker: a DNS knock is granted, and its frame is none of UDP's", "[spa][knocker]") {
  OneClientSite site;
  const auto id = site.alice_knocker->next_knock_id();
  const ByteBuffer datagram = site.alice_knocker->make_dns_knock(site.wall, id);
  const auto frame = spa::parse_dns_carrier(datagram, site.dns_suffix);
  REQUIRE(frame);
  CHECK_FALSE(site.broker_verifier->plausible(spa::Transport::kUdp, *frame));
  const auto grant = site.dns_knock(*site.broker_verifier, datagram);

  REQUIRE(grant);
  CHECK(*grant->identity == site.alice);
  CHECK(grant->transport == spa::Transport::kDns);
  CHECK(grant->knock_id == static_cast<std::uint16_t>(id));
  CHECK(grant->novelty == spa::Novelty::kFirst);
}

TEST_CASE("spa knocker: a DNS knock that resolvers deliver twice is granted once", "[spa][knocker]") {
  OneClientSite site;
  ByteBuffer datagram = site.alice_knocker->make_dns_knock(site.wall, site.alice_knocker->next_knock_id());
  REQUIRE(site.dns_knock(*site.broker_verifier, datagram));

  datagram[0] ^= 0xff;  // another message id
  datagram[13] = static_cast<std::uint8_t>(datagram[13] ^ (datagram[13] >= 'a' ? 0x20 : 0));
  CHECK_FALSE(site.dns_knock(*site.broker_verifier, datagram));
  CHECK(site.dropped(spa::DropReason::kReplayed) == 1);
  CHECK(site.dropped(spa::DropReason::kOverBudget) == 0);
}

TEST_CASE("spa knocker: a bound DNS knock is refused from another address", "[spa][knocker]") {
  OneClientSite site;
  site.alice_knocker->set_public_address(IpAddress::v4({203, 0, 113, 9}));
  const auto id = site.alice_knocker->next_knock_id();

  CHECK_FALSE(site.dns_knock(*site.broker_verifier, site.alice_knocker->make_dns_knock(site.wall, id)));
  CHECK(site.dropped(spa::DropReason::kWrongAddress) == 1);
}

namespace {

struct SentKnock {
  Duration at;
  spa::Transport carrier;
  friend bool operator==(const SentKnock&, const SentKnock&) = default;
};

// What the schedule sends when its deadlines are kept, each granted as a frame of the same knock.
std::vector<SentKnock> run_schedule(OneClientSite& site, spa::KnockSchedule& schedule) {
  const auto id = schedule.start(site.now);
  const Instant started = site.now;
  std::vector<SentKnock> sent;
  while (true) {
    while (const auto knock = schedule.poll_transmit(site.wall)) {
      const auto grant = knock->carrier == spa::Transport::kDns ? site.dns_knock(*site.broker_verifier, knock->datagram)
                                                                : site.knock(*site.broker_verifier, knock->datagram);
      REQUIRE(grant);
      CHECK(grant->transport == knock->carrier);
      CHECK(grant->knock_id == static_cast<std::uint16_t>(id));
      CHECK(grant->novelty == (sent.empty() ? spa::Novelty::kFirst : spa::Novelty::kSameKnock));
      sent.push_back({site.now - started, knock->carrier});
    }
    const auto deadline = schedule.next_deadline();
    if (!deadline) return sent;
    REQUIRE(*deadline > site.now);
    site.advance(*deadline - site.now);
    schedule.handle_timeout(site.now);
  }
}

}  // namespace

TEST_CASE("spa knock schedule: knocks on both ports with one id and fresh nonces", "[spa][knock_schedule]") {
  OneClientSite site;
  spa::KnockSchedule schedule(*site.alice_knocker);
  CHECK_FALSE(schedule.next_deadline());
  CHECK_FALSE(schedule.poll_transmit(site.wall));

  std::vector<SentKnock> expected;
  for (const int at : {0, 100, 300, 600, 1000, 1600, 2500}) {
    expected.push_back({milliseconds(at), spa::Transport::kUdp});
    expected.push_back({milliseconds(at), spa::Transport::kDns});
  }
  CHECK(run_schedule(site, schedule) == expected);
  CHECK(site.broker_verifier->stats().granted == expected.size());
}

TEST_CASE("spa knock schedule: a broker without a DNS port gets UDP knocks only", "[spa][knock_schedule]") {
  OneClientSite site;
  spa::KnockSchedule schedule(*site.alice_knocker, spa::KnockPorts::kServiceOnly);

  const auto sent = run_schedule(site, schedule);
  CHECK(sent.size() == spa::KnockSchedule::kOffsets.size());
  for (const SentKnock& knock : sent) CHECK(knock.carrier == spa::Transport::kUdp);
}

TEST_CASE("spa knock schedule: a late timer sends once a port, and stop sends nothing more", "[spa][knock_schedule]") {
  OneClientSite site;
  spa::KnockSchedule schedule(*site.alice_knocker);
  (void)schedule.start(site.now);
  CHECK(schedule.poll_transmit(site.wall));
  CHECK(schedule.poll_transmit(site.wall));

  schedule.handle_timeout(site.now + std::chrono::seconds(10));
  CHECK(schedule.poll_transmit(site.wall));
  CHECK(schedule.poll_transmit(site.wall));
  CHECK_FALSE(schedule.poll_transmit(site.wall));
  CHECK_FALSE(schedule.next_deadline());

  (void)schedule.start(site.now);
  CHECK(schedule.poll_transmit(site.wall));
  schedule.stop();
  CHECK_FALSE(schedule.poll_transmit(site.wall));
  CHECK_FALSE(schedule.next_deadline());
}

TEST_CASE("spa knock schedule: starting again forgets the knock before", "[spa][knock_schedule]") {
  OneClientSite site;
  spa::KnockSchedule schedule(*site.alice_knocker);
  const auto first = schedule.start(site.now);
  const auto second = schedule.start(site.now + milliseconds(50));

  CHECK(first != second);
  const auto knock = schedule.poll_transmit(site.wall);
  REQUIRE(knock);
  CHECK(site.knock(*site.broker_verifier, knock->datagram)->knock_id == static_cast<std::uint16_t>(second));
  CHECK(schedule.next_deadline() == site.now + milliseconds(150));
}
