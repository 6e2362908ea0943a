// SPDX-License-Identifier: Apache-2.0
#include <natt/roster.h>

#include <algorithm>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/identity/roster_wire.h"

namespace natt {
namespace {

bool by_identity(const RosterDevice& a, const RosterDevice& b) { return a.identity < b.identity; }
bool by_generation(const SpaPublicKey& a, const SpaPublicKey& b) { return a.generation < b.generation; }
bool by_serial(const RevokedCertificate& a, const RevokedCertificate& b) { return a.serial < b.serial; }

// True when each element is less than the next: in order and without duplicates.
template <typename T, typename Less>
bool strictly_ascending(const std::vector<T>& items, Less less) {
  return std::adjacent_find(items.begin(), items.end(), [less](const T& a, const T& b) { return !less(a, b); }) ==
         items.end();
}

const char* complaint_about_addresses(const RosterDevice& device) {
  if (device.addresses.size() > Roster::kMaxAddresses) return "too many addresses";
  if (device.identity.role == Role::kBroker && device.addresses.empty()) return "a broker without an address";
  if (device.identity.role == Role::kClient && !device.addresses.empty()) return "a client with an address";
  if (device.identity.role != Role::kBroker && device.dns_port != 0) return "a DNS port, which only brokers have";
  return nullptr;
}

const char* complaint_about(const RosterDevice& device, const std::string& site) {
  if (device.identity.site != site || !Identity::parse(device.identity.uri())) return "not an identity of the site";
  if (device.spa_keys.empty() || device.spa_keys.size() > Roster::kMaxSpaKeys) return "no or too many SPA keys";
  if (!strictly_ascending(device.spa_keys, by_generation)) return "two SPA keys of one generation";
  if (device.mask_key.has_value() == (device.identity.role == Role::kClient)) {
    return "brokers and gateways have a mask key, clients have none";
  }
  return complaint_about_addresses(device);
}

const char* complaint_about(const Roster& roster) {
  if (!is_valid_name(roster.site)) return "the site's name is invalid";
  if (roster.number == 0) return "its number is 0";
  if (roster.issued_at.time_since_epoch().count() < 0) return "it was issued before 1970";
  if (roster.next_update < roster.issued_at) return "its next update lies before its issue";
  if (roster.devices.size() > Roster::kMaxDevices) return "too many devices";
  if (roster.revoked.size() > Roster::kMaxRevoked) return "too many revoked certificates";
  if (!strictly_ascending(roster.devices, by_identity)) return "a device is listed twice";
  if (!strictly_ascending(roster.revoked, by_serial)) return "a certificate is revoked twice";
  return nullptr;
}

bool belongs_to_client_view(const Identity& identity) { return identity.role != Role::kClient; }

}  // namespace

Result<void> validate(const Roster& roster, RosterView view) {
  if (const char* complaint = complaint_about(roster)) {
    return fail(Errc::kMalformed, fmt::format("the roster is invalid: {}", complaint));
  }
  for (const RosterDevice& device : roster.devices) {
    const char* complaint = complaint_about(device, roster.site);
    if (view == RosterView::kClient && !belongs_to_client_view(device.identity)) complaint = "not for clients to see";
    if (complaint != nullptr) {
      return fail(Errc::kMalformed, fmt::format("the roster is invalid: {}: {}", device.identity.uri(), complaint));
    }
  }
  for (const RevokedCertificate& entry : roster.revoked) {
    const bool hidden = view == RosterView::kClient && !belongs_to_client_view(entry.identity);
    if (hidden || entry.identity.site != roster.site || !Identity::parse(entry.identity.uri())) {
      return fail(Errc::kMalformed, "the roster is invalid: a revoked certificate of an impossible device");
    }
  }
  return {};
}

Result<void> normalize(Roster& roster) {
  for (RosterDevice& device : roster.devices) {
    std::sort(device.spa_keys.begin(), device.spa_keys.end(), by_generation);
  }
  std::sort(roster.devices.begin(), roster.devices.end(), by_identity);
  std::sort(roster.revoked.begin(), roster.revoked.end(), by_serial);
  return validate(roster, RosterView::kFull);
}

const RosterDevice* Roster::find(const Identity& identity) const {
  const auto at =
      std::lower_bound(devices.begin(), devices.end(), identity,
                       [](const RosterDevice& device, const Identity& wanted) { return device.identity < wanted; });
  return at != devices.end() && at->identity == identity ? &*at : nullptr;
}

bool Roster::is_revoked(const CertificateSerial& serial) const {
  const auto at = std::lower_bound(
      revoked.begin(), revoked.end(), serial,
      [](const RevokedCertificate& entry, const CertificateSerial& wanted) { return entry.serial < wanted; });
  return at != revoked.end() && at->serial == serial;
}

Result<void> Roster::admits(const Identity& identity, const CertificateSerial& serial) const {
  if (find(identity) == nullptr) {
    return fail(Errc::kRevoked, fmt::format("roster {} does not list {}", number, identity.uri()));
  }
  if (is_revoked(serial)) {
    return fail(Errc::kRevoked, fmt::format("roster {} revokes this certificate of {}", number, identity.uri()));
  }
  return {};
}

}  // namespace natt
