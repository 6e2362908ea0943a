// SPDX-License-Identifier: Apache-2.0
#include "apps/client/client_site.h"

#include "apps/config/site_material.h"
#include "apps/program/device_health.h"
#include "apps/program/roster_health.h"

namespace natt::client {
namespace {

Result<tunnel::uv::SiteClientOptions> client_options(const config::SiteConfig& site,
                                                     const config::ClientConfig& config,
                                                     const config::NattSettings& settings, LogSink log) {
  auto credentials = config::make_credentials(site);
  if (!credentials) return tl::unexpected(credentials.error());
  auto roster = program::newest_roster(site, config.state.dir, log);
  if (!roster) return tl::unexpected(roster.error());
  const config::SpaKey& key = site.spa_keys.front();
  std::optional<natt::uv::SpaOwnKey> older;
  if (site.spa_keys.size() > 1) {
    older.emplace(natt::uv::SpaOwnKey{site.spa_keys[1].generation,
                                      spa::KeyPair::from_secret(site.spa_keys[1].secret.view())});
  }
  tunnel::uv::SiteClientOptions options{
      .bind = {},
      .credentials = std::move(*credentials),
      .spa_key = {key.generation, spa::KeyPair::from_secret(key.secret.view())},
      .older_spa_key = std::move(older),
      .psk = site.psk,
      .roster = std::move(*roster),
      .gateway_addresses = {},
      .protocol = site.protocol,
      .natt_after = config.race.natt_after,
      .relay_after = config.race.relay_after,
      .stun_keepalive = settings.values().stun_keepalive_interval,
      .probe_prefixes = config.probe_prefixes,
      .software = "natt-client " NATT_VERSION,
      .spa_mode = config.spa.mode,
      .broker_modes = config::broker_modes_of(site),
      .dns_suffix = config.spa.dns_suffix,
      .memory_file = program::memory_file(config.state.dir, site.name),
      .log = log};
  for (const config::GatewayPeer& gateway : site.gateways) {
    options.gateway_addresses[gateway.identity.name] = gateway.addresses;
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<ClientApp::Site>> ClientApp::Site::open(uv_loop_s& loop, const config::SiteConfig& site,
                                                               const config::ClientConfig& config,
                                                               const config::NattSettings& settings, Random& random,
                                                               LogSink log) {
  std::unique_ptr<Site> opened(new Site(site, config.state, log));
  auto options = client_options(site, config, settings, log);
  if (!options) return tl::unexpected(options.error());
  auto client = tunnel::uv::SiteClient::open(loop, std::move(*options), random, *opened);
  if (!client) return tl::unexpected(client.error());
  opened->client_ = std::move(*client);
  opened->watch_ = std::make_unique<program::RosterWatch>(
      loop, site, log, [self = opened.get()](const SignedRoster& documents) {
        const auto change = self->client_->update_roster(natt::uv::now(), documents);
        if (!change) self->log_(LogLevel::kWarning, "natt.roster.refused reason=\"" + change.error().message + "\"");
      });
  return opened;
}

void ClientApp::Site::on_stream_failed(Instant now, tunnel::uv::StreamRequestId id,
                                       const tunnel::uv::StreamFailure& failure) {
  log_(LogLevel::kInfo, "natt.stream.failed site=" + site_.name + " status=" + std::to_string(failure.status) +
                            " reason=\"" + failure.reason + "\"");
  waiters_.handle_failed(now, id, failure);
}

bool ClientApp::Site::persist_roster(const SignedRoster& documents) {
  roster_not_persisted_ = program::persist_roster(documents, site_.name, state_.dir, log_);
  return roster_not_persisted_.empty();
}

void ClientApp::Site::add_roster_health(control::Health& health) const {
  const auto& rejection = client_->roster().last_rejection();
  program::add_roster_health(health, site_.name, rejection ? rejection : watch_->unreadable(), roster_not_persisted_);
}

}  // namespace natt::client
