// SPDX-License-Identifier: Apache-2.0
#pragma once

// One verifier and the devices around it, at a fixed virtual time: what most SPA tests
// start from.

#include <memory>
#include <string>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/knocker.h>
#include <natt/spa/udp_carrier.h>
#include <natt/spa/verifier.h>

#include <tests/support/seeded_random.h>

namespace natt::test {

using namespace natt::spa;  // NOLINT: tests of one library

inline Identity device_named(const std::string& name, Role role = Role::kClient) { return {"hq", role, name}; }

struct SpaSite {
  static constexpr std::uint16_t kPort = 443;

  SeededRandom random{test_seed()};
  Identity broker = device_named("b1", Role::kBroker);
  KeyPair broker_keys = KeyPair::generate(random);
  SitePsk psk{random.bytes<32>()};
  MaskKey mask{random.bytes<16>()};
  DnsSuffix dns_suffix = DnsSuffix::of_site(psk);
  // The start of a slot: 2026-01-01 and a bit, divisible by 64 s.
  WallTime wall{std::chrono::seconds(64 * 27'600'000)};
  Instant now{std::chrono::hours(1)};
  IpAddress source = IpAddress::v4({192, 0, 2, 7});

  [[nodiscard]] VerifierOptions options() {
    VerifierOptions made;
    made.identity = broker;
    made.keys.push_back(KeyPair::from_secret(broker_keys.secret()));
    made.psk = psk;
    made.mask = mask;
    return made;
  }

  // Ready to verify at `wall`.
  [[nodiscard]] std::unique_ptr<Verifier> verifier() { return verifier(options()); }
  [[nodiscard]] std::unique_ptr<Verifier> verifier(VerifierOptions with) {
    auto made = std::make_unique<Verifier>(std::move(with), random);
    made->handle_timeout(now, wall);
    return made;
  }

  void advance(Duration by) {
    now += by;
    wall += std::chrono::duration_cast<std::chrono::milliseconds>(by);
  }

  // Lets time pass the way a driver does: a timeout at each deadline.
  void run(Verifier& verifier, Duration by) {
    const Instant end = now + by;
    while (verifier.next_deadline() && *verifier.next_deadline() <= end) {
      advance(std::max(Duration(0), *verifier.next_deadline() - now));
      verifier.handle_timeout(now, wall);
    }
    advance(end - now);
  }

  [[nodiscard]] PairKey pair(const Identity& device, const KeyPair& keys) const {
    return *PairKey::derive(keys, broker_keys.public_key(), DeviceId::of(device), DeviceId::of(broker), psk);
  }

  [[nodiscard]] std::unique_ptr<Knocker> knocker(const Identity& device, const KeyPair& keys,
                                                 std::uint16_t generation = 1) {
    const KnockerOptions made{
        .device = device, .verifier = broker, .port = kPort, .mask = mask, .key_generation = generation,
        .dns_suffix = dns_suffix};
    return std::make_unique<Knocker>(made, pair(device, keys), random);
  }

  // The verdict on a datagram of the UDP carrier.
  [[nodiscard]] std::optional<Grant> knock(Verifier& verifier, ByteView datagram) {
    const auto frame = parse_udp_carrier(datagram);
    if (!frame) return std::nullopt;
    return verifier.verify(now, wall, Transport::kUdp, *frame, {.port = kPort, .source = source});
  }
  // On a datagram of the DNS carrier.
  [[nodiscard]] std::optional<Grant> dns_knock(Verifier& verifier, ByteView datagram) {
    const auto frame = parse_dns_carrier(datagram, dns_suffix);
    if (!frame) return std::nullopt;
    return verifier.verify(now, wall, Transport::kDns, *frame, {.port = kPort, .source = source});
  }
};

// A site with one client whose keys are known.
struct OneClientSite : SpaSite {
  Identity alice = device_named("alice");
  KeyPair alice_keys = KeyPair::generate(random);
  std::unique_ptr<Verifier> broker_verifier = verifier();
  std::unique_ptr<Knocker> alice_knocker = knocker(alice, alice_keys);

  OneClientSite() { enroll(*broker_verifier); }
  void enroll(Verifier& verifier) const {
    const DeviceKey key{1, alice_keys.public_key()};
    (void)verifier.put_device(alice, {&key, 1});
  }
  [[nodiscard]] ByteBuffer fresh_knock() { return alice_knocker->make_udp_knock(wall, alice_knocker->next_knock_id()); }
  [[nodiscard]] std::uint64_t dropped(DropReason reason) const { return broker_verifier->stats().dropped(reason); }
};

}  // namespace natt::test
