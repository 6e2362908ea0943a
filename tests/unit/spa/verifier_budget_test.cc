// SPDX-License-Identifier: Apache-2.0
// What one device may cost, and that nothing cheaper than a tag is charged to it.
#include <natt/spa/verifier.h>

#include <catch2/catch_test_macros.hpp>

#include "libspa/src/knock_budget.h"
#include "spa_site.h"

using namespace natt;
using spa::DropReason;
using spa::KnockMeter;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::OneClientSite;

TEST_CASE("spa budget: a client has 32 fresh knocks and then 8 a second", "[spa][budget]") {
  OneClientSite site;
  const auto knocks = [&site](int attempts) {
    int granted = 0;
    for (int i = 0; i < attempts; ++i) granted += site.knock(*site.broker_verifier, site.fresh_knock()).has_value();
    return granted;
  };

  CHECK(knocks(100) == 32);
  CHECK(site.dropped(DropReason::kOverBudget) == 68);
  site.advance(seconds(1));
  CHECK(knocks(100) == 8);
  site.advance(milliseconds(124));
  CHECK(knocks(1) == 0);
  site.advance(milliseconds(1));
  CHECK(knocks(2) == 1);
}

TEST_CASE("spa budget: a gateway may join thousands of legs", "[spa][budget]") {
  OneClientSite site;
  const Identity gateway = test::device_named("g1", Role::kGateway);
  const spa::DeviceKey key{1, site.alice_keys.public_key()};
  REQUIRE(site.broker_verifier->put_device(gateway, {&key, 1}));
  const auto knocker = site.knocker(gateway, site.alice_keys);

  for (int i = 0; i < 4000; ++i) {
    REQUIRE(site.knock(*site.broker_verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id())));
  }
  CHECK_FALSE(site.knock(*site.broker_verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id())));
}

TEST_CASE("spa budget: one device's flood costs another device nothing", "[spa][budget]") {
  OneClientSite site;
  const Identity bob = test::device_named("bob");
  const spa::DeviceKey key{1, site.alice_keys.public_key()};
  REQUIRE(site.broker_verifier->put_device(bob, {&key, 1}));
  const auto knocker = site.knocker(bob, site.alice_keys);
  for (int i = 0; i < 1000; ++i) (void)site.knock(*site.broker_verifier, site.fresh_knock());

  CHECK(site.knock(*site.broker_verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id())));
}

TEST_CASE("spa budget: a device that repeats one knock id fills only its own share of nonces", "[spa][budget]") {
  OneClientSite site;
  auto options = site.options();
  options.client_nonces_per_slot = 100;
  auto tight = site.verifier(std::move(options));
  site.enroll(*tight);
  int granted = 0;
  for (int i = 0; i < 200; ++i) {
    granted += site.knock(*tight, site.alice_knocker->make_udp_knock(site.wall, spa::KnockId{5})).has_value();
  }

  CHECK(granted == 100);
  CHECK(tight->stats().dropped(DropReason::kReplaySetFull) == 100);
  site.run(*tight, seconds(64));
  CHECK(site.knock(*tight, site.fresh_knock()));
}

TEST_CASE("spa budget: forged tags are not opened beyond 10,000 a second", "[spa][budget]") {
  OneClientSite site;
  const auto frame = *spa::parse_udp_carrier(site.fresh_knock());
  // The wrong port is a wrong tag with a right P: what a thief of Q could make.
  const auto forge = [&site, &frame] {
    return site.broker_verifier->verify(site.now, site.wall, spa::Transport::kUdp, frame, {.port = 1});
  };
  for (int i = 0; i < 10'100; ++i) REQUIRE_FALSE(forge());

  CHECK(site.dropped(DropReason::kBadTag) == 10'000);
  CHECK(site.dropped(DropReason::kAeadBudget) == 100);
  site.advance(seconds(1));
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa budget: replays and bad prefilters spend neither budget", "[spa][budget]") {
  OneClientSite site;
  const ByteBuffer used = site.fresh_knock();
  REQUIRE(site.knock(*site.broker_verifier, used));
  ByteBuffer wrong_p = site.fresh_knock();
  wrong_p[91] ^= 1;
  for (int i = 0; i < 20'000; ++i) {
    REQUIRE_FALSE(site.knock(*site.broker_verifier, used));
    REQUIRE_FALSE(site.knock(*site.broker_verifier, wrong_p));
  }

  for (int i = 0; i < 31; ++i) CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa budget: an id is known for ten seconds and then charged again", "[spa][budget]") {
  KnockMeter meter;
  const spa::KnockBudget budget{.per_second = 8, .burst = 32};
  const Instant now{std::chrono::hours(1)};

  CHECK(meter.charge(now, 7, budget) == KnockMeter::Charge::kFresh);
  CHECK(meter.charge(now + milliseconds(9'999), 7, budget) == KnockMeter::Charge::kKnown);
  CHECK(meter.charge(now + milliseconds(10'000), 7, budget) == KnockMeter::Charge::kFresh);
}

TEST_CASE("spa budget: an id that was refused is not known afterwards", "[spa][budget]") {
  KnockMeter meter;
  const spa::KnockBudget budget{.per_second = 1, .burst = 1};
  const Instant now{std::chrono::hours(1)};

  CHECK(meter.charge(now, 1, budget) == KnockMeter::Charge::kFresh);
  CHECK(meter.charge(now, 2, budget) == KnockMeter::Charge::kRefused);
  CHECK(meter.charge(now, 2, budget) == KnockMeter::Charge::kRefused);
  CHECK(meter.charge(now + seconds(1), 2, budget) == KnockMeter::Charge::kFresh);
}

TEST_CASE("spa budget: nothing passes a budget of zero", "[spa][budget]") {
  KnockMeter meter;
  CHECK(meter.charge(Instant{}, 1, {.per_second = 0, .burst = 5}) == KnockMeter::Charge::kRefused);
  CHECK(meter.charge(Instant{}, 1, {.per_second = 5, .burst = 0}) == KnockMeter::Charge::kRefused);
}
