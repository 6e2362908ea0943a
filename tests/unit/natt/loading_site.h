// SPDX-License-Identifier: Apache-2.0
#pragma once

// A site whose CA signs rosters, a store that takes them and a verifier that is loaded from it.

#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include <natt/authority.h>
#include <natt/retired_keys.h>
#include <natt/roster_loader.h>
#include <natt/roster_store.h>
#include <natt/spa/knocker.h>
#include <natt/spa/udp_carrier.h>

#include "support/seeded_random.h"

namespace natt::test {

inline const Identity kBroker{"hq", Role::kBroker, "b1"};
inline const Identity kAlice{"hq", Role::kClient, "alice"};

inline Identity client_named(const std::string& name) { return {"hq", Role::kClient, name}; }

struct LoadingSite {
  SeededRandom random{test_seed()};
  WallTime wall{std::chrono::seconds(64 * 27'600'000)};
  Instant now{std::chrono::hours(1)};
  std::unique_ptr<Authority> authority = *Authority::create("hq", wall, random);
  spa::KeyPair broker_keys = spa::KeyPair::generate(random);
  std::vector<spa::KeyPair> generations;  // of every client
  spa::SitePsk psk{random.bytes<32>()};
  spa::MaskKey mask{random.bytes<16>()};
  Roster roster;
  RosterStore store{authority->certificate(), RosterView::kFull};
  std::unique_ptr<spa::Verifier> verifier;
  std::unique_ptr<RosterLoader> loader;

  LoadingSite() {
    for (int i = 0; i < 4; ++i) generations.push_back(spa::KeyPair::generate(random));
    roster.site = "hq";
    roster.issued_at = wall;
    roster.next_update = wall + std::chrono::hours(24);
    roster.devices.push_back({.identity = kBroker,
                              .spa_keys = {{1, broker_keys.public_key().bytes}},
                              .mask_key = Secret<16>(mask),
                              .addresses = {{IpAddress::v4({192, 0, 2, 1}), 443}}});
    start({});
  }
  void start(RetiredKeys retired) {
    spa::VerifierOptions options;
    options.identity = kBroker;
    options.keys.push_back(spa::KeyPair::from_secret(broker_keys.secret()));
    options.psk = psk;
    options.mask = mask;
    loader.reset();
    verifier = std::make_unique<spa::Verifier>(std::move(options), random);
    verifier->handle_timeout(now, wall);
    loader = std::make_unique<RosterLoader>(
        RosterLoaderOptions{.self = kBroker, .retired = std::move(retired), .log = {}}, *verifier);
  }
  // Lists a client with these of its generations.
  void list(const Identity& client, std::initializer_list<std::uint16_t> wanted) {
    std::erase_if(roster.devices, [&client](const RosterDevice& device) { return device.identity == client; });
    RosterDevice device{.identity = client, .spa_keys = {}, .mask_key = {}, .addresses = {}};
    for (const std::uint16_t generation : wanted) device.spa_keys.push_back(key(generation));
    if (!device.spa_keys.empty()) roster.devices.push_back(std::move(device));
  }
  [[nodiscard]] SpaPublicKey key(std::uint16_t generation) const {
    return {generation, generations[generation - 1u].public_key().bytes};
  }
  [[nodiscard]] SignedRoster sign() {
    ++roster.number;
    return *authority->sign_roster(roster);
  }
  void take() {
    const auto change = store.handle_roster(sign());
    REQUIRE(change);
    loader->handle_roster(*store.roster(), *change);
  }
  void load() {
    while (!loader->done()) loader->step();
  }
  [[nodiscard]] bool opens(const Identity& client, std::uint16_t generation) {
    const auto pair = spa::PairKey::derive(generations[generation - 1u], broker_keys.public_key(),
                                           spa::DeviceId::of(client), spa::DeviceId::of(kBroker), psk);
    spa::KnockerOptions options;
    options.device = client;
    options.verifier = kBroker;
    options.mask = mask;
    options.key_generation = generation;
    spa::Knocker knocker(options, *pair, random);
    const auto frame = spa::parse_udp_carrier(knocker.make_udp_knock(wall, knocker.next_knock_id()));
    const bool opened =
        verifier->verify(now, wall, spa::Transport::kUdp, *frame, {.port = 443, .binding = {}, .source = {}})
            .has_value();
    while (const auto event = verifier->poll_event()) loader->handle_key_used(std::get<spa::NewKeyUsed>(*event));
    return opened;
  }
};

}  // namespace natt::test
