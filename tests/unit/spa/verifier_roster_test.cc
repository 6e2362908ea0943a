// SPDX-License-Identifier: Apache-2.0
// Devices coming, going and renewing their keys.
#include <natt/spa/verifier.h>

#include <catch2/catch_test_macros.hpp>

#include "spa_site.h"

using namespace natt;
using spa::DeviceKey;
using spa::DropReason;
using std::chrono::seconds;
using test::OneClientSite;

namespace {

struct RenewalSite : OneClientSite {
  spa::KeyPair new_keys = spa::KeyPair::generate(random);
  std::unique_ptr<spa::Knocker> new_knocker = knocker(alice, new_keys, 2);
  std::array<DeviceKey, 2> both{DeviceKey{1, alice_keys.public_key()}, DeviceKey{2, new_keys.public_key()}};

  [[nodiscard]] ByteBuffer new_knock() { return new_knocker->make_udp_knock(wall, new_knocker->next_knock_id()); }
};

}  // namespace

TEST_CASE("spa roster: a removed device is refused at once, and again when it comes back", "[spa][roster]") {
  OneClientSite site;
  const ByteBuffer used = site.fresh_knock();
  const ByteBuffer unused = site.fresh_knock();
  REQUIRE(site.knock(*site.broker_verifier, used));

  CHECK(site.broker_verifier->remove_device(site.alice));
  CHECK_FALSE(site.broker_verifier->remove_device(site.alice));
  CHECK_FALSE(site.knock(*site.broker_verifier, unused));
  CHECK(site.dropped(DropReason::kUnknownHint) == 1);
  CHECK(site.broker_verifier->stats().devices == 0);
  CHECK(site.broker_verifier->stats().keys == 0);

  site.enroll(*site.broker_verifier);
  CHECK(site.knock(*site.broker_verifier, unused));
  CHECK_FALSE(site.knock(*site.broker_verifier, used));
  CHECK(site.dropped(DropReason::kReplayed) == 1);
}

TEST_CASE("spa roster: old and new keys both work, and the first use of the new one is reported once",
          "[spa][roster]") {
  RenewalSite site;
  REQUIRE(site.broker_verifier->put_device(site.alice, site.both));
  CHECK(site.broker_verifier->stats().keys == 2);

  REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));
  CHECK_FALSE(site.broker_verifier->poll_event());
  const auto grant = site.knock(*site.broker_verifier, site.new_knock());
  REQUIRE(grant);
  CHECK(grant->key_generation == 2);
  REQUIRE(site.knock(*site.broker_verifier, site.new_knock()));

  const auto event = site.broker_verifier->poll_event();
  REQUIRE(event);
  const auto& used = std::get<spa::NewKeyUsed>(*event);
  CHECK(used.device == spa::DeviceId::of(site.alice));
  CHECK(used.generation == 2);
  CHECK_FALSE(site.broker_verifier->poll_event());
}

TEST_CASE("spa roster: a retired key is refused while the device stays", "[spa][roster]") {
  RenewalSite site;
  REQUIRE(site.broker_verifier->put_device(site.alice, site.both));
  REQUIRE(site.broker_verifier->put_device(site.alice, std::span(site.both).last(1)));

  CHECK_FALSE(site.knock(*site.broker_verifier, site.fresh_knock()));
  CHECK(site.knock(*site.broker_verifier, site.new_knock()));
  CHECK_FALSE(site.broker_verifier->poll_event());
}

TEST_CASE("spa roster: putting the same device again forgets neither nonces nor budget", "[spa][roster]") {
  OneClientSite site;
  const ByteBuffer used = site.fresh_knock();
  REQUIRE(site.knock(*site.broker_verifier, used));
  for (int i = 0; i < 31; ++i) REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));

  site.enroll(*site.broker_verifier);

  CHECK_FALSE(site.knock(*site.broker_verifier, used));
  CHECK(site.dropped(DropReason::kReplayed) == 1);
  CHECK_FALSE(site.knock(*site.broker_verifier, site.fresh_knock()));
  CHECK(site.dropped(DropReason::kOverBudget) == 1);
}

TEST_CASE("spa roster: a verifier that renewed its own key takes knocks for both", "[spa][roster]") {
  OneClientSite site;
  const spa::KeyPair old_keys = spa::KeyPair::from_secret(site.broker_keys.secret());
  const spa::KeyPair new_keys = spa::KeyPair::generate(site.random);
  auto options = site.options();
  options.keys.clear();
  options.keys.push_back(spa::KeyPair::from_secret(new_keys.secret()));
  options.keys.push_back(spa::KeyPair::from_secret(old_keys.secret()));
  auto renewed = site.verifier(std::move(options));
  site.enroll(*renewed);
  CHECK(renewed->stats().keys == 2);

  CHECK(site.knock(*renewed, site.fresh_knock()));
  CHECK_FALSE(renewed->poll_event());
  site.broker_keys = spa::KeyPair::from_secret(new_keys.secret());
  site.alice_knocker = site.knocker(site.alice, site.alice_keys);
  CHECK(site.knock(*renewed, site.fresh_knock()));
  const auto event = renewed->poll_event();
  REQUIRE(event);
  CHECK(std::get<spa::NewKeyUsed>(*event).own_key == 0);
}

TEST_CASE("spa roster: bad entries are refused and change nothing", "[spa][roster]") {
  RenewalSite site;
  const auto code = [&site](std::vector<DeviceKey> keys) {
    const auto result = site.broker_verifier->put_device(site.alice, keys);
    return result ? std::error_code{} : result.error().code;
  };

  CHECK(code({}) == make_error_code(spa::Errc::kLimit));
  CHECK(code({{1, {}}}) == make_error_code(spa::Errc::kBadKey));
  CHECK(code({site.both[1], {1, {}}}) == make_error_code(spa::Errc::kBadKey));
  CHECK(code({{1, site.new_keys.public_key()}, {1, site.alice_keys.public_key()}}) ==
        make_error_code(spa::Errc::kDuplicate));
  CHECK(code({{1, site.new_keys.public_key()},
              {2, site.new_keys.public_key()},
              {3, site.new_keys.public_key()},
              {4, site.new_keys.public_key()},
              {5, site.new_keys.public_key()}}) == make_error_code(spa::Errc::kLimit));
  CHECK(site.broker_verifier->stats().keys == 1);
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa roster: max_devices is a bound", "[spa][roster]") {
  OneClientSite site;
  auto options = site.options();
  options.max_devices = 1;
  auto small = site.verifier(std::move(options));
  site.enroll(*small);
  const DeviceKey key{1, site.alice_keys.public_key()};

  const auto refused = small->put_device(test::device_named("bob"), {&key, 1});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == make_error_code(spa::Errc::kLimit));
  CHECK(small->put_device(site.alice, {&key, 1}));
}

TEST_CASE("spa roster: a thousand devices come and go while each knocks for itself", "[spa][roster]") {
  OneClientSite site;
  constexpr int kDevices = 1000;
  const DeviceKey key{1, site.alice_keys.public_key()};
  const auto name = [](int i) { return test::device_named("d" + std::to_string(i)); };
  for (int i = 0; i < kDevices; ++i) REQUIRE(site.broker_verifier->put_device(name(i), {&key, 1}));
  for (int i = 0; i < kDevices; i += 3) REQUIRE(site.broker_verifier->remove_device(name(i)));
  for (int i = 0; i < kDevices; i += 6) REQUIRE(site.broker_verifier->put_device(name(i), {&key, 1}));
  site.run(*site.broker_verifier, seconds(200));

  for (int i = 0; i < kDevices; ++i) {
    const auto knocker = site.knocker(name(i), site.alice_keys);
    const auto grant = site.knock(*site.broker_verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id()));
    CAPTURE(i);
    CHECK(grant.has_value() == (i % 3 != 0 || i % 6 == 0));
    if (grant) CHECK(*grant->identity == name(i));
  }
}

TEST_CASE("spa roster: key uses that find the event queue full are reported at their next use", "[spa][roster]") {
  RenewalSite site;
  constexpr int kDevices = 70;
  const auto name = [](int i) { return test::device_named("d" + std::to_string(i)); };
  const auto knock_all = [&site, &name] {
    for (int i = 0; i < kDevices; ++i) {
      const auto knocker = site.knocker(name(i), site.new_keys, 2);
      REQUIRE(site.knock(*site.broker_verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id())));
    }
  };
  const auto drain = [&site] {
    int events = 0;
    while (site.broker_verifier->poll_event()) ++events;
    return events;
  };
  for (int i = 0; i < kDevices; ++i) REQUIRE(site.broker_verifier->put_device(name(i), site.both));

  knock_all();
  CHECK(drain() == 64);
  knock_all();
  CHECK(drain() == kDevices - 64);
  knock_all();
  CHECK(drain() == 0);
}
