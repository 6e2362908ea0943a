// SPDX-License-Identifier: Apache-2.0
// Renewals, of a device's keys and of the verifier's own, while knocks go on.
#include <natt/spa/verifier.h>

#include <catch2/catch_test_macros.hpp>

#include "spa_site.h"

using namespace natt;
using spa::DeviceKey;
using spa::DropReason;
using spa::KeyPair;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::OneClientSite;

namespace {

KeyPair copy_of(const KeyPair& pair) { return KeyPair::from_secret(pair.secret()); }

std::vector<KeyPair> pairs(std::initializer_list<const KeyPair*> wanted) {
  std::vector<KeyPair> copies;
  for (const KeyPair* pair : wanted) copies.push_back(copy_of(*pair));
  return copies;
}

// Alice with her own generations 1 and 2, and a broker with an old, a new and a newer pair.
struct RenewalSite : OneClientSite {
  KeyPair second = KeyPair::generate(random);
  KeyPair old_own = copy_of(broker_keys);
  KeyPair new_own = KeyPair::generate(random);
  std::array<DeviceKey, 2> both{DeviceKey{1, alice_keys.public_key()}, DeviceKey{2, second.public_key()}};
  spa::Verifier& verifier = *broker_verifier;

  // Alice's knock with one of her keys for one of the broker's.
  [[nodiscard]] ByteBuffer knock_with(const KeyPair& keys, std::uint16_t generation, const KeyPair& own) {
    broker_keys = copy_of(own);
    const auto made = knocker(alice, keys, generation);
    return made->make_udp_knock(wall, made->next_knock_id());
  }
  [[nodiscard]] bool opens(const KeyPair& keys, std::uint16_t generation, const KeyPair& own) {
    return knock(verifier, knock_with(keys, generation, own)).has_value();
  }
  [[nodiscard]] bool opens(const KeyPair& own) { return opens(alice_keys, 1, own); }
};

}  // namespace

TEST_CASE("spa renewal: a new own key takes knocks as soon as devices are put again, the old one all along",
          "[spa][renewal]") {
  RenewalSite site;
  REQUIRE(site.opens(site.old_own));

  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  CHECK(site.opens(site.old_own));
  CHECK_FALSE(site.opens(site.new_own));

  site.enroll(site.verifier);
  CHECK(site.opens(site.new_own));
  CHECK(site.opens(site.old_own));
  CHECK(site.verifier.stats().keys == 2);
}

TEST_CASE("spa renewal: knocks for an own key that went are refused at once, and its keys are wiped in pieces",
          "[spa][renewal]") {
  RenewalSite site;
  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  site.enroll(site.verifier);
  const ByteBuffer unused = site.knock_with(site.alice_keys, 1, site.old_own);

  site.verifier.set_own_keys(pairs({&site.new_own}));
  const std::uint64_t before = site.dropped(DropReason::kUnknownHint);
  CHECK_FALSE(site.knock(site.verifier, unused));
  CHECK(site.dropped(DropReason::kUnknownHint) == before + 1);
  CHECK(site.verifier.stats().keys == 2);

  site.run(site.verifier, seconds(1));
  CHECK(site.verifier.stats().keys == 1);
  CHECK_FALSE(site.knock(site.verifier, unused));
  CHECK(site.opens(site.new_own));
}

TEST_CASE("spa renewal: an own key that is replaced whole leaves no way in", "[spa][renewal]") {
  RenewalSite site;
  site.verifier.set_own_keys(pairs({&site.new_own}));
  CHECK_FALSE(site.opens(site.old_own));

  site.enroll(site.verifier);
  CHECK(site.opens(site.new_own));
  CHECK_FALSE(site.opens(site.old_own));
  site.run(site.verifier, seconds(1));
  CHECK(site.verifier.stats().keys == 1);
}

TEST_CASE("spa renewal: an own key that comes back opens again after the next put", "[spa][renewal]") {
  RenewalSite site;
  site.verifier.set_own_keys(pairs({&site.new_own}));
  site.verifier.set_own_keys(pairs({&site.old_own}));
  CHECK_FALSE(site.opens(site.old_own));

  site.enroll(site.verifier);
  CHECK(site.opens(site.old_own));
  CHECK_FALSE(site.opens(site.new_own));
}

TEST_CASE("spa renewal: replays stay known when the own keys are exchanged", "[spa][renewal]") {
  RenewalSite site;
  const ByteBuffer used = site.knock_with(site.alice_keys, 1, site.old_own);
  REQUIRE(site.knock(site.verifier, used));

  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  site.enroll(site.verifier);

  CHECK_FALSE(site.knock(site.verifier, used));
  CHECK(site.dropped(DropReason::kReplayed) == 1);
}

TEST_CASE("spa renewal: the devices that have used the newest own key are counted once each", "[spa][renewal]") {
  RenewalSite site;
  CHECK(site.verifier.stats().devices_on_newest_key == 0);
  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  REQUIRE(site.verifier.put_device(site.alice, site.both));

  REQUIRE(site.opens(site.old_own));
  CHECK(site.verifier.stats().devices_on_newest_key == 0);
  REQUIRE(site.opens(site.new_own));
  REQUIRE(site.opens(site.second, 2, site.new_own));
  CHECK(site.verifier.stats().devices_on_newest_key == 1);

  SECTION("a further renewal starts over, also one that goes back") {
    const KeyPair newer = KeyPair::generate(site.random);
    site.verifier.set_own_keys(pairs({&newer, &site.new_own}));
    CHECK(site.verifier.stats().devices_on_newest_key == 0);
    site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
    CHECK(site.verifier.stats().devices_on_newest_key == 0);
  }
  SECTION("retiring the old one does not") {
    site.verifier.set_own_keys(pairs({&site.new_own}));
    CHECK(site.verifier.stats().devices_on_newest_key == 1);
  }
  site.verifier.remove_device(site.alice);
  CHECK(site.verifier.stats().devices_on_newest_key == 0);
}

TEST_CASE("spa renewal: keys of a device below the one it used are retired at once and named", "[spa][renewal]") {
  RenewalSite site;
  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  REQUIRE(site.verifier.put_device(site.alice, site.both));
  REQUIRE(site.verifier.stats().keys == 4);
  const ByteBuffer unused = site.knock_with(site.alice_keys, 1, site.old_own);

  const auto retired = site.verifier.retire_device_keys(spa::DeviceId::of(site.alice), 2);

  REQUIRE(retired.size() == 1);
  CHECK(retired[0].generation == 1);
  CHECK(retired[0].key == site.alice_keys.public_key());
  CHECK(site.verifier.stats().keys == 2);
  CHECK_FALSE(site.knock(site.verifier, unused));
  CHECK(site.opens(site.second, 2, site.old_own));
  CHECK(site.verifier.retire_device_keys(spa::DeviceId::of(site.alice), 2).empty());
}

TEST_CASE("spa renewal: the last keys of a device are never retired", "[spa][renewal]") {
  RenewalSite site;
  CHECK(site.verifier.retire_device_keys(spa::DeviceId::of(site.alice), 9).empty());
  CHECK(site.verifier.retire_device_keys(spa::DeviceId::of(test::device_named("bob")), 9).empty());
  CHECK(site.opens(site.old_own));
}

TEST_CASE("spa renewal: a verifier says whether it holds exactly these keys", "[spa][renewal]") {
  RenewalSite site;
  const std::span<const DeviceKey> first = std::span(site.both).first(1);
  CHECK(site.verifier.holds_device(site.alice, first));
  CHECK_FALSE(site.verifier.holds_device(site.alice, site.both));
  CHECK_FALSE(site.verifier.holds_device(test::device_named("bob"), first));
  CHECK_FALSE(site.verifier.holds_device(site.alice, std::span(site.both).last(1)));

  site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
  CHECK_FALSE(site.verifier.holds_device(site.alice, first));
  site.enroll(site.verifier);
  CHECK(site.verifier.holds_device(site.alice, first));
}

TEST_CASE("spa renewal: keys that a roster takes away are refused before new ones are derived", "[spa][renewal]") {
  RenewalSite site;
  REQUIRE(site.verifier.put_device(site.alice, site.both));
  const KeyPair third = KeyPair::generate(site.random);
  const std::array<DeviceKey, 2> listed{site.both[1], DeviceKey{3, third.public_key()}};

  CHECK(site.verifier.keep_device_keys(site.alice, listed));
  CHECK_FALSE(site.verifier.keep_device_keys(test::device_named("bob"), listed));
  CHECK_FALSE(site.opens(site.old_own));
  CHECK(site.opens(site.second, 2, site.old_own));
  CHECK_FALSE(site.opens(third, 3, site.old_own));

  REQUIRE(site.verifier.put_device(site.alice, listed));
  CHECK(site.opens(third, 3, site.old_own));
}

// G19: a renewal of both ends under a stream of 1,000 knocks a second in virtual time.
TEST_CASE("spa renewal: 1,000 knocks a second, none fails while device and verifier renew their keys",
          "[spa][renewal]") {
  RenewalSite site;
  constexpr int kDevices = 500;  // two knocks a second each: below their budget
  const auto name = [](int i) { return test::device_named("d" + std::to_string(i)); };
  const DeviceKey first{1, site.alice_keys.public_key()};
  for (int i = 0; i < kDevices; ++i) REQUIRE(site.verifier.put_device(name(i), {&first, 1}));
  std::vector<const KeyPair*> own(kDevices, &site.old_own);  // what the device's roster lists newest
  std::vector<std::uint16_t> generation(kDevices, 1);        // what its file has newest
  int failed = 0;
  int reloaded = kDevices;

  for (int ms = 0; ms < 12'000; ++ms) {
    site.advance(milliseconds(1));
    if (site.verifier.next_deadline() <= site.now) site.verifier.handle_timeout(site.now, site.wall);
    if (ms == 2'000) {
      site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
      reloaded = 0;
    }
    // The loader, one device a millisecond.
    if (reloaded < kDevices) {
      if (reloaded % 2 == 0) {
        REQUIRE(site.verifier.put_device(name(reloaded), site.both));
      } else {
        REQUIRE(site.verifier.put_device(name(reloaded), {&first, 1}));
      }
      ++reloaded;
    }
    // Rosters and files arrive later, device by device.
    if (ms >= 4'000 && ms % 10 == 0) own[static_cast<std::size_t>((ms / 10) % kDevices)] = &site.new_own;
    if (ms >= 4'000 && ms % 10 == 5 && (ms / 10) % 2 == 0)
      generation[static_cast<std::size_t>((ms / 10) % kDevices)] = 2;
    while (auto event = site.verifier.poll_event()) {
      const auto& used = std::get<spa::NewKeyUsed>(*event);
      site.verifier.retire_device_keys(used.device, used.generation);
    }
    const int at = ms % kDevices;
    site.broker_keys = copy_of(*own[static_cast<std::size_t>(at)]);
    const bool renewed = generation[static_cast<std::size_t>(at)] == 2;
    const auto knocker = renewed ? site.knocker(name(at), site.second, 2) : site.knocker(name(at), site.alice_keys);
    if (!site.knock(site.verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id()))) ++failed;
  }

  CHECK(failed == 0);
  CHECK(site.verifier.stats().devices_on_newest_key == kDevices);
  // Every second device has used its second generation: the first one is gone, in both own keys.
  CHECK(site.verifier.stats().keys == 2 * (kDevices + 1) - 1);
}

// SPA.md 1.1: nothing that is needed to reach a verifier expires by time alone.
TEST_CASE("spa renewal: a device that was off for 400 days knocks at its first try", "[spa][renewal]") {
  RenewalSite site;
  constexpr int kOthers = 10;
  const auto name = [](int i) { return test::device_named("d" + std::to_string(i)); };
  const DeviceKey key{1, site.alice_keys.public_key()};
  for (int i = 0; i < kOthers; ++i) REQUIRE(site.verifier.put_device(name(i), {&key, 1}));
  const auto asleep = site.knocker(site.alice, site.alice_keys);

  for (int i = 0; i < kOthers; ++i) {
    site.run(site.verifier, std::chrono::hours(24));
    // The rest of 40 days without a turn of the loop, as on a host that slept.
    site.advance(std::chrono::hours(24 * 39));
    site.verifier.handle_timeout(site.now, site.wall);
    REQUIRE(site.verifier.remove_device(name(i)));
    if (i == 4) {
      site.verifier.set_own_keys(pairs({&site.new_own, &site.old_own}));
      site.enroll(site.verifier);
    }
  }

  CHECK(site.knock(site.verifier, asleep->make_udp_knock(site.wall, asleep->next_knock_id())));
}
