// SPDX-License-Identifier: Apache-2.0
#include "apps/config/site_material.h"

#include <algorithm>

#include <fmt/format.h>

#include <natt/errc.h>

#include "apps/config/state_dir.h"

namespace natt::config {
namespace {

tl::unexpected<Error> complain(const Error& error, std::string_view key) {
  return fail(error.code, fmt::format("{}: {}", key, error.message));
}

std::filesystem::path persisted_file(const std::string& site, const std::filesystem::path& state_dir) {
  return state_dir / ("roster-" + site);
}

Result<RosterChange> offer(const std::filesystem::path& file, RosterStore& store) {
  const auto text = read_file(file, SignedRoster::kMaxDocumentSize * 2, Exposure::kPublic);
  if (!text) return tl::unexpected(text.error());
  const auto documents = SignedRoster::parse(as_bytes(*text));
  if (!documents) return complain(documents.error(), file.string());
  auto change = store.handle_roster(*documents);
  if (!change) return complain(change.error(), file.string());
  return change;
}

bool is_there(const std::filesystem::path& file) {
  std::error_code failed;
  return std::filesystem::exists(file, failed);
}

std::vector<IpAddress> addresses_of(const RosterDevice& device) {
  std::vector<IpAddress> addresses;
  for (const SocketAddress& address : device.addresses) addresses.push_back(address.ip);
  return addresses;
}

template <typename Peer>
bool has(const std::vector<Peer>& peers, const Identity& identity) {
  return std::any_of(peers.begin(), peers.end(), [&identity](const Peer& peer) { return peer.identity == identity; });
}

}  // namespace

Result<Credentials> make_credentials(const SiteConfig& site) {
  auto credentials = Credentials::from_pem(site.certificate_pem, site.private_key_pem.view(), site.ca_pem);
  if (!credentials) return complain(credentials.error(), "certificate, private_key, ca");
  if (credentials->identity() != site.identity) {
    return fail(std::make_error_code(std::errc::invalid_argument),
                fmt::format("certificate: its identity is {}, but this [[site]] says {}", credentials->identity().uri(),
                            site.identity.uri()));
  }
  const auto documents = SignedRoster::parse(site.roster);
  if (!documents) return complain(documents.error(), "roster");
  const RosterView view = roster_view(site.identity.role);
  const auto roster =
      parse_roster(view == RosterView::kFull ? documents->full : documents->client, view, credentials->site_ca());
  if (!roster) return complain(roster.error(), "roster");
  return credentials;
}

bool same_keys(const SiteConfig& a, const SiteConfig& b) {
  return std::equal(a.spa_keys.begin(), a.spa_keys.end(), b.spa_keys.begin(), b.spa_keys.end(),
                    [](const SpaKey& left, const SpaKey& right) {
                      return left.generation == right.generation && left.secret == right.secret;
                    });
}

RosterView roster_view(Role role) { return role == Role::kClient ? RosterView::kClient : RosterView::kFull; }

Result<void> load_rosters(const SiteConfig& site, const std::filesystem::path& state_dir, RosterStore& store,
                          LogSink log) {
  const auto embedded = SignedRoster::parse(site.roster);
  if (!embedded) return complain(embedded.error(), fmt::format("site {}: roster", site.name));
  if (auto change = store.handle_roster(*embedded); !change) {
    return complain(change.error(), fmt::format("site {}: roster", site.name));
  }
  for (const auto& file : {persisted_file(site.name, state_dir), site.roster_file}) {
    if (!is_there(file)) continue;
    // An older one is left over from before an update; a damaged one the operator wants to know of.
    if (auto change = offer(file, store); !change) {
      const bool is_older = change.error().code == make_error_code(Errc::kRefused);
      log(is_older ? LogLevel::kInfo : LogLevel::kWarning,
          fmt::format("config.roster_ignored site={} number={} reason=\"{}\"", site.name, store.number(),
                      change.error().message));
    }
  }
  return {};
}

Result<RosterChange> read_roster_file(const SiteConfig& site, RosterStore& store) {
  if (!is_there(site.roster_file)) return RosterChange{};
  return offer(site.roster_file, store);
}

Result<void> persist_roster(const RosterStore& store, const std::string& site, const std::filesystem::path& state_dir) {
  return write_file_atomically(persisted_file(site, state_dir), store.documents().serialize());
}

std::map<std::string, SpaMode> broker_modes_of(const SiteConfig& site) {
  std::map<std::string, SpaMode> modes;
  for (const BrokerPeer& broker : site.brokers) {
    if (broker.spa_mode) modes.emplace(broker.identity.name, *broker.spa_mode);
  }
  return modes;
}

std::vector<BrokerPeer> brokers_of(const SiteConfig& site, const Roster& roster) {
  std::vector<BrokerPeer> brokers;
  for (const BrokerPeer& named : site.brokers) {
    if (!named.addresses.empty()) brokers.push_back(named);
  }
  for (const RosterDevice& device : roster.devices) {
    if (device.identity.role != Role::kBroker || device.addresses.empty() || has(brokers, device.identity)) continue;
    brokers.push_back({device.identity, addresses_of(device), device.addresses.front().port, device.dns_port});
  }
  return brokers;
}

std::vector<GatewayPeer> gateways_of(const SiteConfig& site, const Roster& roster) {
  std::vector<GatewayPeer> gateways;
  for (const RosterDevice& device : roster.devices) {
    if (device.identity.role == Role::kGateway) gateways.push_back({device.identity, device.addresses});
  }
  for (const GatewayPeer& named : site.gateways) {
    const auto same = [&named](const GatewayPeer& each) { return each.identity == named.identity; };
    const auto found = std::find_if(gateways.begin(), gateways.end(), same);
    // The configuration adds addresses; it cannot add a gateway that the site does not have.
    if (found != gateways.end() && !named.addresses.empty()) found->addresses = named.addresses;
  }
  return gateways;
}

}  // namespace natt::config
