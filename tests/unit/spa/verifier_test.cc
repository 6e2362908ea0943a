// SPDX-License-Identifier: Apache-2.0
// The order of checks and their outcomes (docs/WIRE.md section 1.3).
#include <natt/spa/verifier.h>
#include <natt/spa/verifier_group.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "spa_site.h"

using namespace natt;
using spa::DropReason;
using spa::Transport;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::OneClientSite;

namespace {

// Frames that a well-behaved Knocker never makes.
struct Forge : OneClientSite {
  spa::FrameBody body{.key_generation = 1, .timestamp = wall};
  spa::FrameContext context{Transport::kUdp, spa::DeviceId::of(broker), kPort, {}};

  [[nodiscard]] std::optional<spa::Grant> verdict() { return verdict(spa::Slot::of(body.timestamp)); }
  [[nodiscard]] std::optional<spa::Grant> verdict(spa::Slot slot) {
    const auto keys = spa::SlotKeys::derive(pair(alice, alice_keys), slot);
    const auto frame = spa::seal_frame(keys, mask, context, body, random.bytes<spa::kNonceSize>());
    return broker_verifier->verify(now, wall, Transport::kUdp, frame, {.port = kPort, .source = source});
  }
};

}  // namespace

TEST_CASE("spa verifier: a stranger's frame ends at the hint", "[spa][verifier]") {
  OneClientSite site;
  for (int i = 0; i < 1000; ++i) {
    const spa::Frame frame = site.random.bytes<spa::kFrameSize>();
    CHECK_FALSE(site.broker_verifier->verify(site.now, site.wall, Transport::kUdp, frame, {.port = site.kPort}));
  }

  CHECK(site.dropped(DropReason::kUnknownHint) == 1000);
}

TEST_CASE("spa verifier: every single-bit flip of a frame is refused and charges nothing", "[spa][verifier]") {
  OneClientSite site;
  const auto frame = *spa::parse_udp_carrier(site.fresh_knock());
  for (std::size_t bit = 0; bit < 8 * spa::kFrameSize; ++bit) {
    spa::Frame flipped = frame;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    CAPTURE(bit);
    CHECK_FALSE(site.broker_verifier->verify(site.now, site.wall, Transport::kUdp, flipped, {.port = site.kPort}));
  }

  CHECK(site.dropped(DropReason::kUnknownHint) + site.dropped(DropReason::kBadPrefilter) == 512);
  CHECK(site.broker_verifier->verify(site.now, site.wall, Transport::kUdp, frame, {.port = site.kPort}));
}

TEST_CASE("spa verifier: a frame for another port, transport or verifier is refused", "[spa][verifier]") {
  OneClientSite site;
  const auto frame = *spa::parse_udp_carrier(site.fresh_knock());

  CHECK_FALSE(site.broker_verifier->verify(site.now, site.wall, Transport::kUdp, frame, {.port = 53}));
  CHECK(site.dropped(DropReason::kBadTag) == 1);
  CHECK_FALSE(site.broker_verifier->verify(site.now, site.wall, Transport::kTcp, frame, {.port = site.kPort}));
  CHECK(site.dropped(DropReason::kBadPrefilter) == 1);

  auto options = site.options();
  options.identity.name = "b2";
  auto sibling = site.verifier(std::move(options));
  site.enroll(*sibling);
  CHECK_FALSE(sibling->verify(site.now, site.wall, Transport::kUdp, frame, {.port = site.kPort}));
  CHECK(sibling->stats().dropped(DropReason::kUnknownHint) == 1);
}

TEST_CASE("spa verifier: a replay is refused from any source and charges nothing", "[spa][verifier]") {
  OneClientSite site;
  const ByteBuffer datagram = site.fresh_knock();
  REQUIRE(site.knock(*site.broker_verifier, datagram));
  for (int i = 0; i < 1000; ++i) {
    site.source = IpAddress::v4({203, 0, 113, static_cast<std::uint8_t>(i % 250)});
    CHECK_FALSE(site.knock(*site.broker_verifier, datagram));
  }

  CHECK(site.dropped(DropReason::kReplayed) == 1000);
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa verifier: a replay is refused at every moment of the frame's life", "[spa][verifier]") {
  for (const int age : {-60, -30, 0, 30, 60}) {
    OneClientSite site;
    // Accepted when it is `age` old; replayed every second for as long as any clock could take it.
    const ByteBuffer datagram =
        site.alice_knocker->make_udp_knock(site.wall - seconds(age), site.alice_knocker->next_knock_id());
    CAPTURE(age);
    REQUIRE(site.knock(*site.broker_verifier, datagram));
    for (int second = 0; second < 300; ++second) {
      site.run(*site.broker_verifier, seconds(1));
      CHECK_FALSE(site.knock(*site.broker_verifier, datagram));
    }
  }
}

TEST_CASE("spa verifier: 60 s of skew pass in both directions, a millisecond more does not", "[spa][verifier]") {
  // From every position within a slot, so that all of t-1, t and t+1 are met.
  for (int position = 0; position < 64; position += 3) {
    for (const int skew : {-60'001, -60'000, -59'999, 0, 59'999, 60'000, 60'001}) {
      OneClientSite site;
      site.run(*site.broker_verifier, seconds(position));
      const auto grant = site.knock(
          *site.broker_verifier,
          site.alice_knocker->make_udp_knock(site.wall + milliseconds(skew), site.alice_knocker->next_knock_id()));
      CAPTURE(position, skew);
      CHECK(grant.has_value() == (std::abs(skew) <= 60'000));
    }
  }
}

TEST_CASE("spa verifier: a poisoned future frame does not block the device", "[spa][verifier]") {
  OneClientSite site;
  (void)site.knock(*site.broker_verifier,
                   site.alice_knocker->make_udp_knock(site.wall + std::chrono::hours(24 * 365 * 10),
                                                      site.alice_knocker->next_knock_id()));
  REQUIRE(site.knock(*site.broker_verifier,
                     site.alice_knocker->make_udp_knock(site.wall + seconds(59), site.alice_knocker->next_knock_id())));

  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa verifier: a frame sealed with the keys of another slot is refused", "[spa][verifier]") {
  Forge forge;
  CHECK_FALSE(forge.verdict(spa::Slot::of(forge.wall).plus(1)));
  CHECK(forge.dropped(DropReason::kWrongSlot) == 1);
}

TEST_CASE("spa verifier: version, type and generation of the body are checked", "[spa][verifier]") {
  Forge forge;
  REQUIRE(forge.verdict());

  SECTION("version 0") {
    forge.body.version = 0;
    CHECK_FALSE(forge.verdict());
    CHECK(forge.dropped(DropReason::kBadVersion) == 1);
  }
  SECTION("version 2") {
    forge.body.version = 2;
    CHECK_FALSE(forge.verdict());
    CHECK(forge.dropped(DropReason::kBadVersion) == 1);
  }
  SECTION("types") {
    std::uint64_t refused = 0;
    for (std::uint8_t type = 0; type < 16; ++type) {
      forge.body.type = static_cast<spa::FrameType>(type);
      ++forge.body.knock_id;
      CAPTURE(type);
      const bool known = type >= 1 && type <= 3;
      CHECK(forge.verdict().has_value() == known);
      refused += known ? 0 : 1;
    }
    CHECK(forge.dropped(DropReason::kBadType) == refused);
  }
  SECTION("generation") {
    forge.body.key_generation = 2;
    CHECK_FALSE(forge.verdict());
    CHECK(forge.dropped(DropReason::kWrongGeneration) == 1);
  }
}

TEST_CASE("spa verifier: unknown flag bits are ignored", "[spa][verifier]") {
  Forge forge;
  forge.body.flags = 0xfe;
  const auto grant = forge.verdict();

  REQUIRE(grant);
  CHECK(grant->flags == 0xfe);
}

TEST_CASE("spa verifier: only the roles that may knock are granted", "[spa][verifier]") {
  OneClientSite site;
  auto options = site.options();
  options.admit_clients = false;
  auto closed = site.verifier(std::move(options));
  site.enroll(*closed);

  CHECK_FALSE(site.knock(*closed, site.fresh_knock()));
  CHECK(closed->stats().dropped(DropReason::kNotPermitted) == 1);
}

TEST_CASE("spa verifier: plausible looks at hint and P only, and remembers nothing", "[spa][verifier]") {
  OneClientSite site;
  auto frame = *spa::parse_udp_carrier(site.fresh_knock());

  CHECK(site.broker_verifier->plausible(Transport::kUdp, frame));
  CHECK(site.broker_verifier->plausible(Transport::kUdp, frame));
  CHECK_FALSE(site.broker_verifier->plausible(Transport::kTcp, frame));
  CHECK(site.dropped(DropReason::kBadPrefilter) == 1);
  CHECK(site.broker_verifier->verify(site.now, site.wall, Transport::kUdp, frame, {.port = site.kPort}));
}

TEST_CASE("spa verifier: a batch gets the verdicts that single frames get, in order", "[spa][verifier]") {
  OneClientSite site;
  std::vector<spa::ArrivedFrame> batch;
  for (int i = 0; i < 100; ++i) {
    spa::Frame frame =
        *spa::parse_udp_carrier(site.alice_knocker->make_udp_knock(site.wall, static_cast<spa::KnockId>(7)));
    if (i % 3 == 1) frame = site.random.bytes<spa::kFrameSize>();
    if (i % 3 == 2) frame = batch.back().frame;
    batch.push_back({Transport::kUdp, frame, {.port = site.kPort, .source = site.source}});
    if (i % 3 == 2) batch.back().frame = batch[batch.size() - 3].frame;  // a copy within the batch
  }
  std::vector<std::optional<spa::Grant>> grants(batch.size());
  site.broker_verifier->verify_batch(site.now, site.wall, batch, grants);

  for (std::size_t i = 0; i < grants.size(); ++i) {
    CAPTURE(i);
    CHECK(grants[i].has_value() == (i % 3 == 0));
  }
  CHECK(site.dropped(DropReason::kReplayed) == 33);
  CHECK(site.dropped(DropReason::kUnknownHint) == 33);
}

TEST_CASE("spa verifier group: one or several, single or in a batch, the one that knows a device grants it",
          "[spa][verifier]") {
  OneClientSite site;
  const Identity second = test::device_named("b2", Role::kBroker);
  auto options = site.options();
  options.identity = second;
  const auto second_verifier = site.verifier(std::move(options));
  site.enroll(*second_verifier);
  const auto pair = spa::PairKey::derive(site.alice_keys, site.broker_keys.public_key(), spa::DeviceId::of(site.alice),
                                         spa::DeviceId::of(second), site.psk);
  spa::Knocker second_knocker(
      {.device = site.alice, .verifier = second, .port = site.kPort, .mask = site.mask, .key_generation = 1}, *pair,
      site.random);

  spa::VerifierGroup group;
  group.add(*site.broker_verifier);
  const bool several = GENERATE(false, true);
  if (several) group.add(*second_verifier);
  CAPTURE(several);
  const auto arrived = [&site](const spa::Frame& frame) {
    return spa::ArrivedFrame{Transport::kUdp, frame, {.port = site.kPort, .source = site.source}};
  };
  const auto mine = *spa::parse_udp_carrier(site.fresh_knock());
  const auto theirs = *spa::parse_udp_carrier(second_knocker.make_udp_knock(site.wall, second_knocker.next_knock_id()));
  const std::array batch{arrived(mine), arrived(theirs), arrived(mine), arrived(site.random.bytes<spa::kFrameSize>())};
  std::array<std::optional<spa::Grant>, 4> grants;
  // What was in there before does not count.
  grants[3] = spa::Grant{};

  group.verify_batch(site.now, site.wall, batch, grants);

  REQUIRE(grants[0]);
  CHECK(*grants[0]->identity == site.alice);
  CHECK(grants[1].has_value() == several);
  CHECK_FALSE(grants[2]);
  CHECK_FALSE(grants[3]);
  CHECK(site.dropped(DropReason::kReplayed) == 1);
  const auto again = *spa::parse_udp_carrier(site.fresh_knock());
  CHECK(group.verify(site.now, site.wall, Transport::kUdp, again, arrived(again).context));
  CHECK_FALSE(group.verify(site.now, site.wall, Transport::kUdp, again, arrived(again).context));
  group.remove(*site.broker_verifier);
  CHECK_FALSE(group.verify(site.now, site.wall, Transport::kUdp, mine, arrived(mine).context));
}

TEST_CASE("spa verifier: frames from before accept_from are refused", "[spa][verifier]") {
  OneClientSite site;
  auto options = site.options();
  options.accept_from = site.now;
  auto restarted = site.verifier(std::move(options));
  site.enroll(*restarted);
  const auto id = site.alice_knocker->next_knock_id();

  CHECK_FALSE(site.knock(*restarted, site.alice_knocker->make_udp_knock(site.wall - milliseconds(1), id)));
  CHECK(restarted->stats().dropped(DropReason::kBeforeFloor) == 1);
  CHECK(site.knock(*restarted, site.alice_knocker->make_udp_knock(site.wall, id)));
}

TEST_CASE("spa verifier: every drop reason has its own name", "[spa][verifier]") {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < spa::kDropReasonCount; ++i) {
    names.push_back(spa::to_string(static_cast<DropReason>(i)));
    CHECK(names.back() != "unknown");
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}
