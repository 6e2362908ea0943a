// SPDX-License-Identifier: Apache-2.0
#include "integration/site_devices.h"

namespace natt::test {
SiteDevices::SiteDevices(Random& random) : random_(random), psk_(random.bytes<32>()) {
  auto authority = Authority::create("hq", uv::wall_now(), random);
  REQUIRE(authority);
  authority_ = std::move(*authority);
}

void SiteDevices::add(const Identity& identity) {
  auto certificate = authority_->issue(identity, uv::wall_now(), kCertificateLifetime);
  REQUIRE(certificate);
  std::optional<Secret<16>> mask;
  if (identity.role != Role::kClient) mask = Secret<16>(random_.bytes<16>());
  devices_.emplace(identity, Device{.certificate = std::move(*certificate),
                                    .key = spa::KeyPair::generate(random_),
                                    .older = std::nullopt,
                                    .mask = mask});
}

void SiteDevices::add_older_key(const Identity& identity) {
  devices_.at(identity).older = spa::KeyPair::generate(random_);
}

void SiteDevices::renew_certificate(const Identity& identity) {
  auto certificate = authority_->issue(identity, uv::wall_now(), kCertificateLifetime);
  REQUIRE(certificate);
  devices_.at(identity).certificate = std::move(*certificate);
}

Credentials SiteDevices::credentials(const Identity& identity) const {
  const IssuedCertificate& own = devices_.at(identity).certificate;
  auto credentials = Credentials::from_pem(own.certificate_pem, own.key_pem, authority_->certificate_pem());
  REQUIRE(credentials);
  return std::move(*credentials);
}

spa::KeyPair SiteDevices::spa_key(const Identity& identity) const {
  return spa::KeyPair::from_secret(devices_.at(identity).key.secret());
}

std::vector<uv::SpaOwnKey> SiteDevices::spa_keys(const Identity& identity) const {
  std::vector<uv::SpaOwnKey> keys;
  keys.push_back({1, spa_key(identity)});
  if (const auto& older = devices_.at(identity).older) {
    keys.push_back({0, spa::KeyPair::from_secret(older->secret())});
  }
  return keys;
}

SignedRoster SiteDevices::make_roster(const SocketAddress& broker) {
  Roster roster{.site = "hq", .number = ++roster_number_, .issued_at = uv::wall_now(),
                .next_update = uv::wall_now() + std::chrono::hours(24), .devices = {}, .revoked = {}};
  for (const auto& [identity, device] : devices_) {
    RosterDevice entry{.identity = identity, .spa_keys = {{1, device.key.public_key().bytes}}, .mask_key = device.mask,
                       .addresses = {}};
    if (device.older) entry.spa_keys.insert(entry.spa_keys.begin(), {0, device.older->public_key().bytes});
    if (identity.role == Role::kBroker) entry.addresses = {broker};
    roster.devices.push_back(std::move(entry));
  }
  auto documents = authority_->sign_roster(roster);
  REQUIRE(documents);
  return *documents;
}

std::unique_ptr<spa::Knocker> SiteDevices::make_knocker(const Identity& device, const Identity& verifier,
                                                        std::uint16_t port) const {
  const Device& theirs = devices_.at(verifier);
  const auto pair = spa::PairKey::derive(devices_.at(device).key, theirs.key.public_key(), spa::DeviceId::of(device),
                                         spa::DeviceId::of(verifier), psk_);
  REQUIRE(pair);
  return std::make_unique<spa::Knocker>(
      spa::KnockerOptions{.device = device, .verifier = verifier, .port = port, .mask = *theirs.mask,
                          .key_generation = 1, .dns_suffix = {}},
      *pair, random_);
}

}  // namespace natt::test
