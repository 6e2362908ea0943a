// SPDX-License-Identifier: Apache-2.0
#include "support/test_pki.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace natt::test {
namespace {

template <typename T>
T value_or_die(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "test_pki: %s\n", result.error().message.c_str());
  std::abort();
}

}  // namespace

TestPki::TestPki(std::string site, std::uint64_t seed)
    : site_(std::move(site)), random_(seed), authority_(value_or_die(Authority::create(site_, kTestNow, random_))) {}

Identity TestPki::identity(Role role, const std::string& name) const { return {site_, role, name}; }

IssuedCertificate TestPki::issue(Role role, const std::string& name) {
  return value_or_die(authority_->issue(identity(role, name), kTestNow, kCertificateLifetime));
}

const Credentials& TestPki::credentials(Role role, const std::string& name) {
  const Identity who = identity(role, name);
  const auto known = credentials_.find(who);
  if (known != credentials_.end()) return known->second;
  static_cast<void>(device(role, name));
  return credentials_.emplace(who, credentials_at(role, name, kTestNow, kCertificateLifetime)).first->second;
}

Credentials TestPki::credentials_at(Role role, const std::string& name, WallTime made,
                                    std::chrono::milliseconds lifetime) {
  const auto issued = value_or_die(authority_->issue(identity(role, name), made, lifetime));
  return value_or_die(Credentials::from_pem(issued.certificate_pem, issued.key_pem, authority_->certificate_pem()));
}

RosterDevice& TestPki::device(Role role, const std::string& name) {
  const Identity who = identity(role, name);
  const auto known = devices_.find(who);
  if (known != devices_.end()) return known->second;
  RosterDevice device;
  device.identity = who;
  device.spa_keys.push_back({1, random_.bytes<32>()});
  if (role != Role::kClient) device.mask_key = Secret<16>(random_.bytes<16>());
  if (role == Role::kBroker) device.addresses.push_back(*SocketAddress::parse("198.51.100.10:443"));
  return devices_.emplace(who, std::move(device)).first->second;
}

Roster TestPki::roster(std::uint64_t number) {
  Roster roster;
  roster.site = site_;
  roster.number = number;
  roster.issued_at = kTestNow;
  roster.next_update = kTestNow + std::chrono::hours(24);
  for (const auto& [who, device] : devices_) roster.devices.push_back(device);
  return roster;
}

SignedRoster TestPki::signed_roster(std::uint64_t number) {
  return value_or_die(authority_->sign_roster(roster(number)));
}

}  // namespace natt::test
