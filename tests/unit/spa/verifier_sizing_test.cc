// SPDX-License-Identifier: Apache-2.0
// Room made ahead, devices looked up, roles and own keys that end.
#include <natt/spa/verifier.h>

#include <catch2/catch_test_macros.hpp>

#include "spa_site.h"

using namespace natt;
using test::OneClientSite;

TEST_CASE("spa verifier: room for devices is made table by table, and changes no verdict", "[spa][verifier]") {
  OneClientSite site;
  const ByteBuffer before = site.fresh_knock();
  int steps = 0;
  while (site.broker_verifier->expect_devices(5000, 3)) {
    REQUIRE(++steps < 20);
    CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
  }

  // Pairs, and the hints of three slots.
  CHECK(steps >= 3);
  CHECK(site.knock(*site.broker_verifier, before));
  CHECK_FALSE(site.knock(*site.broker_verifier, before));
}

TEST_CASE("spa verifier: a device is found by its id until it is removed", "[spa][verifier]") {
  OneClientSite site;
  const auto id = spa::DeviceId::of(site.alice);

  REQUIRE(site.broker_verifier->find_device(id) != nullptr);
  CHECK(*site.broker_verifier->find_device(id) == site.alice);
  CHECK(site.broker_verifier->remove_device(site.alice));
  CHECK(site.broker_verifier->find_device(id) == nullptr);
}

TEST_CASE("spa verifier: brokers and gateways are let in by their own switches", "[spa][verifier]") {
  for (const Role role : {Role::kBroker, Role::kGateway}) {
    for (const bool admitted : {false, true}) {
      OneClientSite site;
      auto options = site.options();
      (role == Role::kBroker ? options.admit_brokers : options.admit_gateways) = admitted;
      const auto verifier = site.verifier(std::move(options));
      const Identity peer = test::device_named("peer", role);
      const spa::DeviceKey key{1, site.alice_keys.public_key()};
      REQUIRE(verifier->put_device(peer, {&key, 1}));
      const auto knocker = site.knocker(peer, site.alice_keys);
      CAPTURE(to_string(role), admitted);
      CHECK(site.knock(*verifier, knocker->make_udp_knock(site.wall, knocker->next_knock_id())).has_value() == admitted);
    }
  }
}

TEST_CASE("spa verifier: older own keys end when told, and with one there is none to end", "[spa][verifier]") {
  OneClientSite site;
  site.broker_verifier->retire_older_own_keys();
  REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));

  auto options = site.options();
  options.keys.insert(options.keys.begin(), spa::KeyPair::generate(site.random));
  const auto renewed = site.verifier(std::move(options));
  site.enroll(*renewed);
  // Still the old one's.
  REQUIRE(site.knock(*renewed, site.fresh_knock()));
  renewed->retire_older_own_keys();

  CHECK_FALSE(site.knock(*renewed, site.fresh_knock()));
  CHECK(renewed->stats().own_keys == 1);
}

TEST_CASE("spa verifier: more nonces are restored than the set was made for", "[spa][verifier]") {
  OneClientSite site;
  spa::ReplayRecord record{spa::Slot::of(site.wall), {}};
  std::size_t restored = 0;
  for (std::uint32_t i = 0; i < 120'000; ++i) {
    store_be(record.opening.data(), i);
    restored += site.broker_verifier->restore(site.wall, record);
  }

  CHECK(restored == 120'000);
  CHECK(site.broker_verifier->stats().nonces == 120'000);
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}
