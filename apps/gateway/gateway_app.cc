// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/gateway_app.h"

#include <utility>

#include <nlohmann/json.hpp>

#include <natt/uv/interface_addresses.h>

#include "apps/config/site_material.h"
#include "apps/config/state_dir.h"
#include "apps/gateway/tunnel_counters.h"
#include "apps/program/device_health.h"
#include "apps/program/library_counters.h"
#include "apps/program/roster_health.h"
#include "apps/program/settings_commands.h"
#include "apps/program/site_status.h"

namespace natt::gateway {
namespace {

using nlohmann::json;

std::vector<natt::uv::SpaOwnKey> keys_of(const config::SiteConfig& site) {
  std::vector<natt::uv::SpaOwnKey> keys;
  for (const config::SpaKey& key : site.spa_keys) {
    keys.push_back({key.generation, spa::KeyPair::from_secret(key.secret.view())});
  }
  return keys;
}

std::vector<spa::GateSocket> gated_sockets(tunnel::TunnelProtocol protocol) {
  std::vector<spa::GateSocket> kinds{spa::GateSocket::kTunnelUdp};
  if (protocol == tunnel::TunnelProtocol::kTls) kinds.push_back(spa::GateSocket::kTcpSyn);
  return kinds;
}

}  // namespace

GatewayApp::GatewayApp(program::EventLoop& loop, config::GatewayConfig config, config::Log& log)
    : loop_(loop),
      config_(std::move(config)),
      log_(log),
      retired_keys_(loop.native(), config_.state.dir, log.sink()),
      reload_(
          loop.native(), [file = config_.file] { return read_again(file); },
          [this](const Reload& reload, program::ReloadScope scope) { apply_reload(natt::uv::now(), reload, scope); }),
      metrics_(loop.native(), [this] { return status(); }, log.sink()),
      timer_(loop.native(), *this) {}

GatewayApp::~GatewayApp() = default;

Result<void> GatewayApp::open() {
  since_ = natt::uv::wall_now();
  if (auto prepared = config::prepare_state_dir(config_.state.dir); !prepared) return prepared;
  auto settings = config::NattSettings::load(config_.natt, config_.state.dir);
  if (!settings) return tl::unexpected(settings.error());
  settings_ = std::make_unique<config::NattSettings>(std::move(*settings));
  auto options = gateway_options();
  if (!options) return tl::unexpected(options.error());
  gate_ = program::open_gate(config_.spa.kernel_gate, gated_sockets(options->protocol), {&options->roster},
                             log_.sink());
  options->gate = gate_.gate.get();
  auto gateway = tunnel::uv::Gateway::open(loop_.native(), std::move(*options), policy_, random_, *this);
  if (!gateway) return tl::unexpected(gateway.error());
  gateway_ = std::move(*gateway);
  retired_keys_.compact(config_.site.name, gateway_->retired_keys());
  update_policy(gateway_->roster());
  watch_ = std::make_unique<program::RosterWatch>(
      loop_.native(), config_.site, log_.sink(),
      [this](const SignedRoster& documents) { take_roster(natt::uv::now(), documents); });
  // Renewed keys come with this file: nobody has to remember the signal. Settings wait for it.
  config_watch_ = std::make_unique<control::FileWatch>(loop_.native(), config_.file,
                                                       [this] { reload_.start(program::ReloadScope::kKeys); });
  add_commands();
  auto control = control::ControlServer::listen(loop_.native(), config_.control.socket, commands_, log_.sink());
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);
  metrics_.serve(config_.metrics);
  return {};
}

Result<tunnel::uv::GatewayOptions> GatewayApp::gateway_options() {
  auto credentials = config::make_credentials(config_.site);
  if (!credentials) return tl::unexpected(credentials.error());
  auto roster = program::newest_roster(config_.site, config_.state.dir, log_.sink());
  if (!roster) return tl::unexpected(roster.error());
  tunnel::uv::GatewayOptions options{.listen = {config_.listen.address, config_.listen.port},
                                     .credentials = std::move(*credentials),
                                     .spa_keys = keys_of(config_.site),
                                     .psk = config_.site.psk,
                                     .roster = std::move(*roster),
                                     .replay_journal =
                                         program::replay_journal(config_.state.dir, config_.site.name),
                                     .retired = retired_keys_.load(config_.site.name),
                                     .memory_file = program::memory_file(config_.state.dir, config_.site.name),
                                     .protocol = config_.site.protocol,
                                     .tun = {.enabled = config_.tun.enabled,
                                             .name = config_.tun.name,
                                             .pool = config_.tun.pool,
                                             .routes = config_.tun.routes},
                                     .stun_keepalive = settings_->values().stun_keepalive_interval,
                                     .probe_prefixes = config_.probe_prefixes,
                                     .software = "natt-gateway " NATT_VERSION,
                                     .spa_mode = config_.spa.mode,
                                     .broker_modes = config::broker_modes_of(config_.site),
                                     .dns_suffix = config_.spa.dns_suffix,
                                     .log = log_.sink()};
  return options;
}

void GatewayApp::update_policy(const Roster& roster) {
  policy_.update(config_, roster, natt::uv::interface_addresses());
}

bool GatewayApp::persist_roster(const SignedRoster& documents) {
  roster_not_persisted_ = program::persist_roster(documents, config_.site.name, config_.state.dir, log_.sink());
  return roster_not_persisted_.empty();
}

void GatewayApp::on_keys_retired(const std::string& lines) {
  retired_keys_.on_keys_retired(config_.site.name, lines);
}

void GatewayApp::run() { loop_.run(*this); }

void GatewayApp::on_terminate(Instant now) {
  log_.sink()(LogLevel::kInfo, "natt.gateway.draining seconds=" + std::to_string(kDrain.count()));
  gateway_->drain(now);
  stop_at_ = now + kDrain;
  timer_.arm(now);
}

void GatewayApp::on_timer(Instant now) {
  if (!stop_at_) return;
  if (gateway_->stream_count() == 0 || now >= *stop_at_) {
    gateway_->close(now, "the gateway is stopping");
    return loop_.stop();
  }
  timer_.arm(now + std::chrono::milliseconds(50));
}

void GatewayApp::on_reload(Instant) { reload_.start(program::ReloadScope::kKeysAndSettings); }

GatewayApp::Reload GatewayApp::read_again(const std::filesystem::path& file) {
  Reload reload;
  reload.config = config::load_gateway_config(file);
  if (!reload.config) return reload;
  reload.credentials = config::make_credentials(reload.config->site);
  // Brokers retire this gateway's old key when they see the new one: it has to be there after a power cut.
  if (auto synced = config::sync_file(file); !synced) reload.credentials = tl::unexpected(synced.error());
  return reload;
}

void GatewayApp::apply_reload(Instant now, const Reload& reload, program::ReloadScope scope) {
  const auto& config = reload.config;
  if (!config) return log_.sink()(LogLevel::kError, "natt.reload.refused reason=\"" + config.error().message + "\"");
  if (scope == program::ReloadScope::kKeysAndSettings) reload_settings(now, *config);
  if (const auto& credentials = reload.credentials; !credentials) {
    log_.sink()(LogLevel::kError, "natt.spa.not_renewed reason=\"" + credentials.error().message + "\"");
  } else if (config->site.name == config_.site.name) {
    renew(now, config->site, *credentials);
  }
  log_.sink()(LogLevel::kInfo, std::string("natt.reload.done scope=") + program::to_string(scope));
}

void GatewayApp::reload_settings(Instant now, const config::GatewayConfig& config) {
  log_.set_level(config.log.level);
  settings_->reload(config.natt);
  metrics_.serve(config.metrics);
  config_.entitlements = config.entitlements;
  update_policy(gateway_->roster());
  gateway_->handle_policy_change(now);
  gateway_->set_stun_keepalive(now, settings_->values().stun_keepalive_interval);
}

void GatewayApp::renew(Instant now, const config::SiteConfig& after, const Credentials& credentials) {
  config::SiteConfig& before = config_.site;
  if (before.certificate_pem != after.certificate_pem || !config::same_keys(before, after)) {
    if (auto renewed = gateway_->update_keys(now, credentials, keys_of(after)); !renewed) {
      return log_.sink()(LogLevel::kError, "natt.spa.not_renewed reason=\"" + renewed.error().message + "\"");
    }
    before.certificate_pem = after.certificate_pem;
    before.spa_keys = after.spa_keys;
    log_.sink()(LogLevel::kInfo, "natt.spa.renewed site=" + after.name + " generation=" +
                                     std::to_string(after.spa_keys.front().generation));
  }
  // After the keys: clients that learn a key of ours from the roster find it served.
  if (before.roster != after.roster) {
    before.roster = after.roster;
    if (const auto documents = SignedRoster::parse(after.roster)) take_roster(now, *documents);
  }
  watch_->reload();
}

void GatewayApp::take_roster(Instant now, const SignedRoster& documents) {
  const auto change = gateway_->update_roster(now, documents);
  if (!change) log_.sink()(LogLevel::kWarning, "natt.roster.refused reason=\"" + change.error().message + "\"");
}

std::vector<control::Session> GatewayApp::sessions() const {
  std::vector<control::Session> sessions;
  for (const auto& connection : gateway_->connections()) {
    sessions.push_back({.site = config_.site.name,
                        .client = connection.client.name,
                        .gateway = config_.site.identity.name,
                        .connection_type = connection.type,
                        .protocol = std::string(to_string(connection.protocol)),
                        .relay_reason = {},
                        .local_address = gateway_->local_address().to_string(),
                        .remote_address = connection.remote ? connection.remote->to_string() : "",
                        .rtt_ms = program::milliseconds(connection.stats.smoothed_rtt_us),
                        .bytes_in = connection.stats.bytes_in,
                        .bytes_out = connection.stats.bytes_out,
                        .since = program::wall_of(connection.since)});
  }
  return sessions;
}

control::Health GatewayApp::health() const {
  control::Health health;
  program::add_site_health(health, config_.site.name, gateway_->brokers(),
                           gateway_->roster().next_update < natt::uv::wall_now());
  const auto& rejection = gateway_->roster_rejection();
  program::add_roster_health(health, config_.site.name, rejection ? rejection : watch_->unreadable(),
                             roster_not_persisted_);
  program::add_own_health(health, gateway_->own_complaints());
  program::add_clock_health(health, clock_watch_);
  program::add_replay_health(health, config_.site.name, gateway_->replay_status(), natt::uv::now());
  if (!health.check("retired_keys_readable", retired_keys_.damaged().empty())) {
    health.add(control::HealthStatus::kWarning,
               "the list of retired SPA keys could not be read: older keys work again until their devices use the "
               "newer ones");
  }
  program::add_lock_health(health, config_.site.name, gateway_->spa_stats());
  add_keys(health);
  if (const auto door = gateway_->door()) add_door(health, *door);
  program::add_gate_health(health, gate_);
  add_counters(health);
  metrics_.add_health(health);
  return health;
}

void GatewayApp::add_keys(control::Health& health) const {
  const auto missing = gateway_->missing_own_key();
  if (!health.check("own_keys_complete", !missing)) {
    health.add(control::HealthStatus::kWarning,
               "the roster of site " + config_.site.name + " lists SPA key generation " + std::to_string(*missing) +
                   " of this gateway, and " + config_.file.string() +
                   " does not hold it: copy the gateway's renewed file here; clients try the older key after it");
  }
  const spa::VerifierStats stats = gateway_->spa_stats();
  if (stats.own_keys > 1) {
    health.add(control::HealthStatus::kHealthy,
               std::to_string(stats.devices_on_newest_key) + " of " + std::to_string(stats.devices) +
                   " clients of site " + config_.site.name +
                   " have used this gateway's newest SPA key since it started");
  }
}

void GatewayApp::add_counters(control::Health& health) const {
  health.sites.push_back(program::site_facts(config_.site.name, gateway_->brokers(), gateway_->roster().number,
                                             gateway_->clock_offset()));
  control::SpaCounters& spa =
      health.spa.emplace_back(control::counters_of(config_.site.name, gateway_->spa_stats()));
  if (const auto replay = gateway_->replay_status()) spa.replay = control::counters_of(*replay, natt::uv::now());
  add_tunnel_counters(health, gateway_->tunnel_stats());
  if (const auto tls = gateway_->tls_stats()) add_tls_counters(health, *tls);
  health.gauges.emplace_back("tunnelStreams", gateway_->stream_count());
  health.gauges.emplace_back("tunnelSessions", gateway_->session_count());
  program::add_punch_counters(health, gateway_->punch_stats());
  program::add_udp_counters(health, gateway_->udp_stats());
}

control::Status GatewayApp::status() const {
  control::Status status{.program = "gateway", .version = NATT_VERSION};
  status.identities.push_back(config_.site.identity.uri());
  status.since = since_;
  status.health = health();
  status.session_counts = control::counts_of(gateway_->connection_counts());
  status.relayed = {.sessions = status.session_counts.relayed};
  status.brokers = program::broker_peers(gateway_->brokers());
  return status;
}

void GatewayApp::add_commands() {
  using control::Access;
  commands_.add("status", Access::kRead, [this](const json&) -> Result<json> { return json(status()); });
  commands_.add("health", Access::kRead, [this](const json&) -> Result<json> { return json(health()); });
  commands_.add("sites", Access::kRead, [this](const json&) -> Result<json> {
    control::Site site{.name = config_.site.name,
                       .roster_number = gateway_->roster().number,
                       .roster_next_update = gateway_->roster().next_update,
                       .peers = program::broker_peers(gateway_->brokers()),
                       .session_counts = control::count(sessions())};
    site.relayed.sessions = site.session_counts.relayed;
    return control::sites_json({site});
  });
  commands_.add("sessions", Access::kRead,
                [this](const json&) -> Result<json> { return control::sessions_json(sessions()); });
  commands_.add("nat-sockets", Access::kRead, [this](const json&) -> Result<json> {
    return control::nat_sockets_json(
        program::nat_sockets(config_.site.name, gateway_->local_address(), gateway_->brokers()));
  });
  program::add_settings_commands(commands_, *settings_, [this] {
    gateway_->set_stun_keepalive(natt::uv::now(), settings_->values().stun_keepalive_interval);
  });
}

}  // namespace natt::gateway
