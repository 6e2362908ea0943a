// SPDX-License-Identifier: Apache-2.0
#include "src/identity/roster_wire.h"

#include <string_view>
#include <utility>

#include <natt/errc.h>

#include "roster.pb.h"
#include "src/signal/address_wire.h"

namespace natt {
namespace {

// With its terminating zero: no other context string continues it.
constexpr std::string_view kContext("natt-roster-1\0", 14);

bool in_view(const Identity& identity, RosterView view) {
  return view == RosterView::kFull || identity.role != Role::kClient;
}

std::uint64_t to_wire_time(WallTime time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }

// Year 9999: far beyond any certificate, and arithmetic on it cannot overflow.
constexpr std::uint64_t kMaxWireTime = 253'402'300'799'000;

std::optional<WallTime> to_time(std::uint64_t milliseconds) {
  if (milliseconds > kMaxWireTime) return std::nullopt;
  return WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)));
}

void put_device(const RosterDevice& device, wire::RosterDevice& out) {
  out.set_role(static_cast<std::uint32_t>(device.identity.role));
  out.set_name(device.identity.name);
  for (const SpaPublicKey& key : device.spa_keys) {
    wire::SpaKey& entry = *out.add_spa_keys();
    entry.set_generation(key.generation);
    entry.set_key(to_wire(key.key));
  }
  if (device.mask_key) out.set_mask_key(to_wire(device.mask_key->view()));
  put_addresses(device.addresses, *out.mutable_addresses());
  out.set_dns_port(device.dns_port);
}

std::optional<Identity> get_identity(const std::string& site, std::uint32_t role, const std::string& name) {
  if (role < 1 || role > 3 || !is_valid_name(name)) return std::nullopt;
  return Identity{site, static_cast<Role>(role), name};
}

bool get_spa_keys(const wire::RosterDevice& in, RosterDevice& out) {
  for (const wire::SpaKey& entry : in.spa_keys()) {
    SpaPublicKey key;
    if (entry.generation() > 0xffff || !copy_exactly<32>(entry.key(), key.key)) return false;
    key.generation = static_cast<std::uint16_t>(entry.generation());
    out.spa_keys.push_back(key);
  }
  return true;
}

bool get_mask_key(const std::string& in, RosterDevice& out) {
  if (in.empty()) return true;
  return copy_exactly<16>(in, out.mask_key.emplace().mutable_view());
}

std::optional<RosterDevice> get_device(const wire::RosterDevice& in, const std::string& site) {
  const auto identity = get_identity(site, in.role(), in.name());
  RosterDevice out;
  if (!identity || in.dns_port() > 0xffff || !get_spa_keys(in, out) || !get_mask_key(in.mask_key(), out) ||
      !get_addresses(in.addresses(), Roster::kMaxAddresses, out.addresses)) {
    return std::nullopt;
  }
  out.identity = *identity;
  out.dns_port = static_cast<std::uint16_t>(in.dns_port());
  return out;
}

bool get_revoked(const wire::RosterBody& in, Roster& out) {
  for (const wire::RevokedCertificate& entry : in.revoked()) {
    const auto identity = get_identity(out.site, entry.role(), entry.name());
    RevokedCertificate revoked;
    if (!identity || !copy_exactly<16>(entry.serial(), revoked.serial.octets)) return false;
    revoked.identity = *identity;
    out.revoked.push_back(std::move(revoked));
  }
  return true;
}

bool get_devices(const wire::RosterBody& in, Roster& out) {
  out.devices.reserve(static_cast<std::size_t>(in.devices_size()));
  for (const wire::RosterDevice& entry : in.devices()) {
    auto device = get_device(entry, out.site);
    if (!device) return false;
    out.devices.push_back(std::move(*device));
  }
  return true;
}

std::optional<Roster> get_roster(const wire::RosterBody& in) {
  Roster out;
  const auto issued_at = to_time(in.issued_at_ms());
  const auto next_update = to_time(in.next_update_ms());
  if (!issued_at || !next_update) return std::nullopt;
  out.site = in.site();
  out.number = in.number();
  out.issued_at = *issued_at;
  out.next_update = *next_update;
  if (!get_devices(in, out) || !get_revoked(in, out)) return std::nullopt;
  return out;
}

}  // namespace

ByteBuffer serialize_roster_body(const Roster& roster, RosterView view) {
  wire::RosterBody out;
  out.set_view(static_cast<std::uint32_t>(view));
  out.set_site(roster.site);
  out.set_number(roster.number);
  out.set_issued_at_ms(to_wire_time(roster.issued_at));
  out.set_next_update_ms(to_wire_time(roster.next_update));
  for (const RosterDevice& device : roster.devices) {
    if (in_view(device.identity, view)) put_device(device, *out.add_devices());
  }
  for (const RevokedCertificate& entry : roster.revoked) {
    if (!in_view(entry.identity, view)) continue;
    wire::RevokedCertificate& revoked = *out.add_revoked();
    revoked.set_serial(to_wire(entry.serial.octets));
    revoked.set_role(static_cast<std::uint32_t>(entry.identity.role));
    revoked.set_name(entry.identity.name);
  }
  return to_buffer(out.SerializeAsString());
}

ByteBuffer roster_signing_input(ByteView body) {
  ByteBuffer input;
  input.reserve(kContext.size() + body.size());
  ByteWriter writer(input);
  writer.write_bytes(as_bytes(kContext));
  writer.write_bytes(body);
  return input;
}

ByteBuffer serialize_roster_document(ByteView body, ByteView signature) {
  wire::RosterDocument out;
  out.set_body(to_wire(body));
  out.set_signature(to_wire(signature));
  return to_buffer(out.SerializeAsString());
}

Result<Roster> parse_roster(ByteView document, RosterView view, const SiteCa& ca) {
  wire::RosterDocument in;
  if (document.size() > SignedRoster::kMaxDocumentSize ||
      !in.ParseFromArray(document.data(), static_cast<int>(document.size()))) {
    return fail(Errc::kMalformed, "the roster cannot be read");
  }
  // Nothing of the body is looked at before this.
  if (!ca.verify(roster_signing_input(as_bytes(in.body())), as_bytes(in.signature()))) {
    return fail(Errc::kUntrusted, "the roster was not signed by the CA of site " + ca.site());
  }
  return parse_roster_body(as_bytes(in.body()), view, ca.site());
}

Result<Roster> parse_roster_body(ByteView bytes, RosterView view, const std::string& site) {
  wire::RosterBody body;
  if (!body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(Errc::kMalformed, "the roster's body cannot be read");
  }
  if (body.site() != site) return fail(Errc::kWrongIdentity, "the roster is of another site than its CA");
  if (body.view() != static_cast<std::uint32_t>(view)) {
    return fail(Errc::kWrongIdentity, "the roster is the other view, for another role");
  }
  auto roster = get_roster(body);
  if (!roster) return fail(Errc::kMalformed, "the roster holds an invalid value");
  if (const auto valid = validate(*roster, view); !valid) return tl::unexpected<Error>(valid.error());
  return std::move(*roster);
}

ByteBuffer SignedRoster::serialize() const {
  wire::RosterFile out;
  out.set_full(to_wire(full));
  out.set_client(to_wire(client));
  return to_buffer(out.SerializeAsString());
}

Result<SignedRoster> SignedRoster::parse(ByteView bytes) {
  wire::RosterFile in;
  if (bytes.size() > 2 * kMaxDocumentSize || !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      (in.full().empty() && in.client().empty())) {
    return fail(Errc::kMalformed, "this is not a roster file");
  }
  return SignedRoster{to_buffer(in.full()), to_buffer(in.client())};
}

}  // namespace natt
