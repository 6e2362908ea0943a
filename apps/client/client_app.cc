// SPDX-License-Identifier: Apache-2.0
#include "apps/client/client_app.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <natt/errc.h>

#include "apps/client/client_site.h"
#include "apps/config/state_dir.h"
#include "apps/program/device_health.h"
#include "apps/program/library_counters.h"
#include "apps/program/settings_commands.h"
#include "apps/program/site_status.h"

namespace natt::client {

using nlohmann::json;

ClientApp::ClientApp(program::EventLoop& loop, config::ClientConfig config, config::Log& log)
    : loop_(loop),
      config_(std::move(config)),
      log_(log),
      metrics_(loop.native(), [this] { return status(); }, log.sink()),
      timer_(loop.native(), *this) {}

ClientApp::~ClientApp() = default;

Result<void> ClientApp::open() {
  since_ = natt::uv::wall_now();
  if (auto prepared = config::prepare_state_dir(config_.state.dir); !prepared) return prepared;
  auto settings = config::NattSettings::load(config_.natt, config_.state.dir);
  if (!settings) return tl::unexpected(settings.error());
  settings_ = std::make_unique<config::NattSettings>(std::move(*settings));
  if (auto opened = open_sites(); !opened) return opened;
  if (auto opened = open_forwards(); !opened) return opened;
  if (auto opened = open_socks(); !opened) return opened;
  if (auto opened = open_tun(); !opened) return opened;
  add_commands();
  auto control = control::ControlServer::listen(loop_.native(), config_.control.socket, commands_, log_.sink());
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);
  metrics_.serve(config_.metrics);
  return {};
}

Result<void> ClientApp::open_sites() {
  for (const config::SiteConfig& site : config_.sites) {
    auto opened = Site::open(loop_.native(), site, config_, *settings_, random_, log_.sink());
    if (!opened) return tl::unexpected(opened.error());
    sites_.push_back(std::move(*opened));
  }
  return {};
}

ClientApp::Site* ClientApp::find_site(const std::string& name) {
  if (name.empty() && !sites_.empty()) return sites_.front().get();
  const auto found = std::find_if(sites_.begin(), sites_.end(), [&](const auto& site) { return site->name() == name; });
  return found == sites_.end() ? nullptr : found->get();
}

Result<void> ClientApp::open_forwards() {
  for (const config::Forward& forward : config_.forwards) {
    Site* site = find_site(forward.site);
    if (site == nullptr) return fail(Errc::kUnavailable, "[[forward]] site: no site " + forward.site);
    auto opened = PortForward::open(loop_.native(), forward, site->client(), log_.sink());
    if (!opened) return tl::unexpected(opened.error());
    forwards_.push_back(std::move(*opened));
    // Somebody will come: the tunnel is there when they do.
    site->client().keep_up(natt::uv::now(), forward.gateway);
  }
  return {};
}

Result<void> ClientApp::open_socks() {
  if (!config_.socks.listen) return {};
  Site* site = find_site(config_.socks.site);
  if (site == nullptr) return fail(Errc::kUnavailable, "[socks] site: no site " + config_.socks.site);
  auto opened = SocksServer::open(loop_.native(), config_.socks, site->client(), site->waiters(), log_.sink());
  if (!opened) return tl::unexpected(opened.error());
  socks_ = std::move(*opened);
  site->client().keep_up(natt::uv::now(), config_.socks.gateway);
  return {};
}

Result<void> ClientApp::open_tun() {
  if (!config_.tun.enabled) return {};
  Site* site = find_site(config_.tun.site);
  if (site == nullptr) return fail(Errc::kUnavailable, "[tun] site: no site " + config_.tun.site);
  return site->client().open_tun(natt::uv::now(), {.name = config_.tun.name,
                                                   .accept_routes = config_.tun.accept_routes,
                                                   .gateway = config_.tun.gateway});
}

void ClientApp::run() { loop_.run(*this); }

void ClientApp::on_terminate(Instant now) {
  forwards_.clear();
  socks_.reset();
  for (const auto& site : sites_) site->client().close(now);
  // One turn of the loop, so that what close() wrote leaves.
  timer_.arm(now + std::chrono::milliseconds(50));
}

void ClientApp::on_reload(Instant) {
  const auto config = config::load_client_config(config_.file);
  if (!config) return log_.sink()(LogLevel::kError, "natt.reload.refused reason=\"" + config.error().message + "\"");
  log_.set_level(config->log.level);
  settings_->reload(config->natt);
  metrics_.serve(config->metrics);
  apply_settings();
  for (const auto& site : sites_) site->reload();
  log_.sink()(LogLevel::kInfo, "natt.reload.done scope=keys+settings");
}

void ClientApp::apply_settings() {
  for (const auto& site : sites_) {
    site->client().set_stun_keepalive(natt::uv::now(), settings_->values().stun_keepalive_interval);
  }
}

std::vector<control::Session> ClientApp::connections(const std::string& wanted) const {
  std::vector<control::Session> sessions;
  for (const auto& site : sites_) {
    if (!wanted.empty() && site->name() != wanted) continue;
    for (const auto& connection : site->client().connections()) {
      if (!connection.connected) continue;
      sessions.push_back({.site = site->name(),
                          .client = {},
                          .gateway = connection.gateway.name,
                          .connection_type = connection.type,
                          .protocol = std::string(to_string(connection.protocol)),
                          .relay_reason = connection.relay_reason ? std::string(to_string(*connection.relay_reason)) : "",
                          .local_address = connection.local.to_string(),
                          .remote_address = connection.remote ? connection.remote->to_string() : "",
                          .rtt_ms = program::milliseconds(connection.stats.smoothed_rtt_us),
                          .bytes_in = connection.stats.bytes_in,
                          .bytes_out = connection.stats.bytes_out,
                          .since = program::wall_of(connection.since)});
    }
  }
  return sessions;
}

control::Health ClientApp::health() const {
  control::Health health;
  for (const auto& site : sites_) {
    program::add_site_health(health, site->name(), site->client().brokers(),
                             site->client().roster().is_stale(natt::uv::wall_now()));
    site->add_roster_health(health);
    program::add_own_health(health, site->client().own_complaints());
    health.sites.push_back(program::site_facts(site->name(), site->client().brokers(),
                                               site->client().roster().number(), site->client().clock_offset()));
    program::add_punch_counters(health, site->client().punch_stats());
    program::add_udp_counters(health, site->client().udp_stats());
  }
  metrics_.add_health(health);
  return health;
}

control::Status ClientApp::status() const {
  control::Status status{.program = "client", .version = NATT_VERSION};
  for (const config::SiteConfig& site : config_.sites) status.identities.push_back(site.identity.uri());
  status.since = since_;
  status.health = health();
  status.connections = connections("");
  status.brokers.emplace();
  for (const auto& site : sites_) {
    for (control::Peer& peer : program::broker_peers(site->client().brokers())) {
      status.brokers->push_back(std::move(peer));
    }
  }
  status.session_counts = control::count(*status.connections);
  status.relayed.sessions = status.session_counts.relayed;
  return status;
}

std::vector<control::Site> ClientApp::sites() const {
  std::vector<control::Site> sites;
  for (const auto& site : sites_) {
    const Roster* roster = site->client().roster().roster();
    control::Site entry{.name = site->name(),
                        .roster_number = site->client().roster().number(),
                        .roster_next_update = roster != nullptr ? std::optional(roster->next_update) : std::nullopt,
                        .peers = program::broker_peers(site->client().brokers()),
                        .session_counts = control::count(connections(site->name()))};
    entry.relayed.sessions = entry.session_counts.relayed;
    sites.push_back(std::move(entry));
  }
  return sites;
}

std::vector<control::NatSocket> ClientApp::sockets() const {
  std::vector<control::NatSocket> sockets;
  for (const auto& site : sites_) {
    const auto more =
        program::nat_sockets(site->name(), site->client().local_address(), site->client().brokers());
    sockets.insert(sockets.end(), more.begin(), more.end());
  }
  return sockets;
}

void ClientApp::add_commands() {
  using control::Access;
  commands_.add("status", Access::kRead, [this](const json&) -> Result<json> { return json(status()); });
  commands_.add("health", Access::kRead, [this](const json&) -> Result<json> { return json(health()); });
  commands_.add("sites", Access::kRead, [this](const json&) -> Result<json> { return control::sites_json(sites()); });
  commands_.add("sessions", Access::kRead,
                [this](const json&) -> Result<json> { return control::sessions_json(connections("")); });
  commands_.add("nat-sockets", Access::kRead,
                [this](const json&) -> Result<json> { return control::nat_sockets_json(sockets()); });
  program::add_settings_commands(commands_, *settings_, [this] { apply_settings(); });
}

}  // namespace natt::client
