// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/registrar.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/spa/keys.h>

#include "apps/config/broker_config.h"
#include "apps/config/client_config.h"
#include "apps/config/gateway_config.h"

namespace natt::ctl {
namespace {

constexpr std::string_view kCaFile = "ca.key";
constexpr std::string_view kRosterFile = "roster";
constexpr std::string_view kRecordFile = "site";
constexpr std::string_view kLedgerFile = "certificates";

tl::unexpected<Error> complain(std::string message) {
  return fail(std::make_error_code(std::errc::invalid_argument), std::move(message));
}

bool is_named(const Identity& identity, std::string_view name) {
  return name == identity.name || name == fmt::format("{}/{}", to_string(identity.role), identity.name) ||
         name == identity.uri();
}

std::string text_of(const ByteBuffer& bytes) { return std::string(as_text(bytes)); }

// What a device of this role may know of the roster: brokers hand the client view on.
SignedRoster view_for(Role role, const SignedRoster& documents) {
  switch (role) {
    case Role::kBroker: return documents;
    case Role::kGateway: return {.full = documents.full, .client = {}};
    case Role::kClient: return {.full = {}, .client = documents.client};
  }
  return {};
}

Result<std::vector<config::SiteConfig>> read_sites(std::string_view text, const std::filesystem::path& file,
                                                   Role role) {
  if (role == Role::kBroker) {
    auto config = config::parse_broker_config(text, file);
    if (!config) return tl::unexpected(std::move(config.error()));
    return std::move(config->sites);
  }
  if (role == Role::kClient) {
    auto config = config::parse_client_config(text, file);
    if (!config) return tl::unexpected(std::move(config.error()));
    return std::move(config->sites);
  }
  auto config = config::parse_gateway_config(text, file);
  if (!config) return tl::unexpected(std::move(config.error()));
  std::vector<config::SiteConfig> sites;
  sites.push_back(std::move(config->site));
  return sites;
}

}  // namespace

Registrar::Registrar(SiteFolder& folder, SiteRecord record, std::unique_ptr<Authority> authority, WallTime wall_now,
                     Random& random)
    : folder_(folder),
      record_(std::move(record)),
      authority_(std::move(authority)),
      wall_now_(wall_now),
      random_(random) {}

Result<std::unique_ptr<Registrar>> Registrar::create(SiteFolder& folder, SiteRecord record, WallTime wall_now,
                                                     Random& random) {
  auto authority = Authority::create(record.name, wall_now, random);
  if (!authority) return tl::unexpected(std::move(authority.error()));
  std::unique_ptr<Registrar> registrar(
      new Registrar(folder, std::move(record), std::move(*authority), wall_now, random));
  registrar->roster_.site = registrar->record_.name;
  return registrar;
}

Result<std::unique_ptr<Registrar>> Registrar::open(SiteFolder& folder, WallTime wall_now, Random& random) {
  const auto record_text = folder.read(std::string(kRecordFile));
  if (!record_text) return tl::unexpected(record_text.error());
  auto record = SiteRecord::parse(*record_text, folder.path() / kRecordFile);
  if (!record) return tl::unexpected(std::move(record.error()));
  const auto pem = folder.read(std::string(kCaFile));
  if (!pem) return tl::unexpected(pem.error());
  auto authority = Authority::from_pem(*pem, random);
  if (!authority) return complain(fmt::format("{}: {}", (folder.path() / kCaFile).string(), authority.error().message));
  if ((*authority)->site() != record->name) {
    return complain(fmt::format("{}: the CA is of site {}, the file site is of {}; restore the folder from a backup",
                                folder.path().string(), (*authority)->site(), record->name));
  }
  std::unique_ptr<Registrar> registrar(
      new Registrar(folder, std::move(*record), std::move(*authority), wall_now, random));
  if (auto loaded = registrar->load(); !loaded) return tl::unexpected(std::move(loaded.error()));
  return registrar;
}

Result<void> Registrar::load() {
  const auto name_of = [this](std::string_view file) { return (folder_.path() / file).string(); };
  const auto roster = folder_.read(std::string(kRosterFile));
  if (!roster) return tl::unexpected(roster.error());
  const auto documents = SignedRoster::parse(as_bytes(*roster));
  if (!documents) return complain(fmt::format("{}: {}", name_of(kRosterFile), documents.error().message));
  auto parsed = parse_roster(documents->full, RosterView::kFull, authority_->certificate());
  if (!parsed) return complain(fmt::format("{}: {}", name_of(kRosterFile), parsed.error().message));
  roster_ = std::move(*parsed);
  const auto ledger = folder_.read(std::string(kLedgerFile));
  if (!ledger) return tl::unexpected(ledger.error());
  auto entries = parse_ledger(*ledger, folder_.path() / kLedgerFile);
  if (!entries) return tl::unexpected(std::move(entries.error()));
  ledger_ = std::move(*entries);
  return {};
}

std::string Registrar::file_of(const Identity& identity) const {
  if (identity.role == Role::kBroker && identity.name == record_.first_broker) return "broker.toml";
  return fmt::format("{}-{}.toml", to_string(identity.role), identity.name);
}

RosterDevice* Registrar::device(const Identity& identity) {
  const auto found = std::find_if(roster_.devices.begin(), roster_.devices.end(),
                                  [&identity](const RosterDevice& each) { return each.identity == identity; });
  return found == roster_.devices.end() ? nullptr : &*found;
}

Result<Identity> Registrar::find(std::string_view name) const {
  std::vector<Identity> found;
  for (const RosterDevice& each : roster_.devices) {
    if (is_named(each.identity, name)) found.push_back(each.identity);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) return complain(fmt::format("site {} has no device \"{}\"", record_.name, name));
  return complain(fmt::format("site {} has several devices \"{}\"; say which: {}/{} or {}/{}", record_.name, name,
                              to_string(found[0].role), name, to_string(found[1].role), name));
}

bool Registrar::was_revoked(std::string_view name) const {
  return !find(name) && std::any_of(roster_.revoked.begin(), roster_.revoked.end(),
                                    [name](const RevokedCertificate& each) { return is_named(each.identity, name); });
}

Result<DeviceSecrets> Registrar::issue(const Identity& identity, std::uint16_t generation) {
  auto issued = authority_->issue(identity, wall_now_, kCertificateLifetime);
  if (!issued) return tl::unexpected(std::move(issued.error()));
  ledger_.push_back({identity, issued->serial, issued->not_after});
  const auto pair = spa::KeyPair::generate(random_);
  if (RosterDevice* listed = device(identity); listed != nullptr) {
    listed->spa_keys.push_back({generation, pair.public_key().bytes});
  }
  DeviceSecrets secrets;
  secrets.certificate_pem = std::move(issued->certificate_pem);
  secrets.private_key_pem = std::move(issued->key_pem);
  secrets.spa_keys.push_back({generation, Secret<32>(pair.secret())});
  return secrets;
}

Result<void> Registrar::enroll(const Enrollment& enrollment) {
  const Identity identity{record_.name, enrollment.role, enrollment.name};
  if (!is_valid_name(enrollment.name)) {
    return complain(fmt::format("\"{}\" is no device name: 1 to 63 characters out of a-z, 0-9 and -", enrollment.name));
  }
  if (device(identity) != nullptr) {
    return complain(fmt::format("{} {} is enrolled already; use nattctl renew for new keys, or another name",
                                to_string(identity.role), identity.name));
  }
  RosterDevice listed;
  listed.identity = identity;
  listed.addresses = enrollment.addresses;
  if (identity.role == Role::kBroker) listed.dns_port = enrollment.dns_port;
  if (enrollment.spa_mode) record_.broker_modes[identity.name] = *enrollment.spa_mode;
  if (identity.role != Role::kClient)
    listed.mask_key = Secret<16>(std::span<const std::uint8_t, 16>(random_.bytes<16>()));
  roster_.devices.push_back(std::move(listed));
  auto secrets = issue(identity, 1);
  if (!secrets) return tl::unexpected(std::move(secrets.error()));
  Pending pending{
      .file = {.identity = identity, .secrets = std::move(*secrets), .ca_pem = authority_->certificate_pem()}};
  if (identity.role != Role::kClient && !enrollment.addresses.empty())
    pending.file.port = enrollment.addresses.front().port;
  if (identity.role == Role::kBroker) pending.file.dns_port = enrollment.dns_port;
  pending_.push_back(std::move(pending));
  return {};
}

Result<std::vector<config::SpaKey>> Registrar::current_keys(const Identity& identity) const {
  const std::string name = file_of(identity);
  const auto text = folder_.read(name);
  if (!text) return tl::unexpected(text.error());
  auto sites = read_sites(*text, folder_.path() / name, identity.role);
  if (!sites) return tl::unexpected(std::move(sites.error()));
  for (config::SiteConfig& site : *sites) {
    if (site.identity == identity) return std::move(site.spa_keys);
  }
  return complain(fmt::format("{}: is not the file of {}", (folder_.path() / name).string(), identity.uri()));
}

Result<Renewal> Registrar::renew(const Identity& identity) {
  RosterDevice* listed = device(identity);
  if (listed == nullptr) return complain(fmt::format("{} is not enrolled", identity.uri()));
  auto keys = current_keys(identity);
  if (!keys) return tl::unexpected(std::move(keys.error()));
  Renewal renewal;
  // A broker or gateway holds two pairs; a public key more would be one that nobody answers to.
  const std::size_t room = identity.role == Role::kClient ? Roster::kMaxSpaKeys : config::kMaxSpaKeys;
  std::vector<SpaPublicKey>& held = listed->spa_keys;
  while (held.size() >= room) {
    renewal.dropped.push_back(held.front().generation);
    held.erase(held.begin());
  }
  for (const SpaPublicKey& key : held) renewal.kept.push_back(key.generation);
  const std::uint16_t newest = held.back().generation;
  if (newest == 65535)
    return complain(fmt::format("{} has no key generation left; revoke and enroll it", identity.uri()));
  renewal.generation = static_cast<std::uint16_t>(newest + 1);
  auto secrets = issue(identity, renewal.generation);
  if (!secrets) return tl::unexpected(std::move(secrets.error()));
  for (config::SpaKey& key : *keys) {
    if (key.generation == newest) secrets->spa_keys.push_back(std::move(key));
  }
  Pending pending{.file = {.identity = identity, .secrets = std::move(*secrets), .ca_pem = {}}, .is_renewal = true};
  pending_.push_back(std::move(pending));
  return renewal;
}

Result<std::vector<std::uint16_t>> Registrar::retire(const Identity& identity) {
  RosterDevice* listed = device(identity);
  if (listed == nullptr) return complain(fmt::format("{} is not enrolled", identity.uri()));
  std::vector<std::uint16_t> retired;
  while (listed->spa_keys.size() > 1) {
    retired.push_back(listed->spa_keys.front().generation);
    listed->spa_keys.erase(listed->spa_keys.begin());
  }
  return retired;
}

Result<void> Registrar::revoke(const Identity& identity) {
  if (device(identity) == nullptr) return complain(fmt::format("{} is not enrolled", identity.uri()));
  if (identity.role == Role::kBroker) record_.broker_modes.erase(identity.name);
  std::erase_if(roster_.devices, [&identity](const RosterDevice& each) { return each.identity == identity; });
  const auto is_listed = [this](const CertificateSerial& serial) {
    return std::any_of(roster_.revoked.begin(), roster_.revoked.end(),
                       [&serial](const RevokedCertificate& each) { return each.serial == serial; });
  };
  for (const IssuedRecord& issued : ledger_) {
    if (issued.identity == identity && !is_listed(issued.serial)) {
      roster_.revoked.push_back({issued.serial, issued.identity});
    }
  }
  return {};
}

Result<std::string> Registrar::render(Pending& pending, const SignedRoster& documents) const {
  const Identity& identity = pending.file.identity;
  const std::string name = file_of(identity);
  pending.file.secrets.roster = view_for(identity.role, documents).serialize();
  std::string text;
  if (pending.is_renewal) {
    const auto old = folder_.read(name);
    if (!old) return tl::unexpected(old.error());
    auto renewed = renew_device_file(*old, folder_.path() / name, record_.name, pending.file.secrets);
    if (!renewed) return renewed;
    text = std::move(*renewed);
  } else {
    text = render_device_file(pending.file, record_);
  }
  // What is handed out has to be readable by the program it is for.
  if (auto sites = read_sites(text, folder_.path() / name, identity.role); !sites) return tl::unexpected(sites.error());
  return text;
}

Result<void> Registrar::save() {
  // Expired certificates need no revocation any more.
  std::erase_if(ledger_, [this](const IssuedRecord& issued) { return issued.not_after < wall_now_; });
  std::erase_if(roster_.revoked, [this](const RevokedCertificate& revoked) {
    return std::none_of(ledger_.begin(), ledger_.end(),
                        [&revoked](const IssuedRecord& issued) { return issued.serial == revoked.serial; });
  });
  ++roster_.number;
  roster_.issued_at = wall_now_;
  roster_.next_update = wall_now_ + kRosterLifetime;
  const auto documents = authority_->sign_roster(roster_);
  if (!documents) return tl::unexpected(documents.error());
  for (Pending& pending : pending_) {
    auto text = render(pending, *documents);
    if (!text) return tl::unexpected(std::move(text.error()));
    folder_.stage(file_of(pending.file.identity), std::move(*text));
  }
  folder_.stage(std::string(kCaFile), authority_->to_pem());
  folder_.stage(std::string(kRosterFile), text_of(documents->serialize()));
  folder_.stage(std::string(kRecordFile), record_.serialize());
  folder_.stage(std::string(kLedgerFile), serialize_ledger(ledger_));
  return folder_.commit();
}

}  // namespace natt::ctl
