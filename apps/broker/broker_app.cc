// SPDX-License-Identifier: Apache-2.0
#include "apps/broker/broker_app.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/broker/relay_key_file.h"
#include "apps/config/site_material.h"
#include "apps/config/state_dir.h"
#include "apps/program/device_health.h"
#include "apps/program/library_counters.h"
#include "apps/program/roster_health.h"
#include "apps/program/service_sockets.h"
#include "apps/program/site_status.h"

namespace natt::broker {
namespace {

using nlohmann::json;

std::string text_of(const std::optional<SocketAddress>& address) { return address ? address->to_string() : ""; }

// Both of TCP: the visibility can be reloaded.
std::vector<spa::GateSocket> gated_sockets(std::uint16_t dns_port) {
  std::vector<spa::GateSocket> kinds{spa::GateSocket::kBrokerUdp, spa::GateSocket::kTcpSyn, spa::GateSocket::kTcpIp};
  if (dns_port != 0) kinds.push_back(spa::GateSocket::kBrokerDns);
  return kinds;
}

std::vector<spa::KeyPair> pairs_of(const config::SiteConfig& site) {
  std::vector<spa::KeyPair> pairs;
  for (const config::SpaKey& key : site.spa_keys) pairs.push_back(spa::KeyPair::from_secret(key.secret.view()));
  return pairs;
}

std::string sentence_of(const KnockMissing& missing) {
  const std::string who = missing.identity.uri() + " connects from " + missing.remote.ip.to_string();
  if (missing.knocked_from) {
    return who + " but knocks over UDP from " + missing.knocked_from->to_string() +
           ": UDP and TCP leave its network with different addresses; set [spa] mode = \"tcp\" on this broker";
  }
  return who + " and none of its UDP knocks arrives: let UDP/443 and UDP/53 through, or set [spa] mode = \"tcp\" on "
               "this broker";
}

}  // namespace

BrokerApp::BrokerApp(program::EventLoop& loop, config::BrokerConfig config, config::Log& log)
    : loop_(loop),
      config_(std::move(config)),
      log_(log),
      retired_keys_(loop.native(), config_.state.dir, log.sink()),
      reload_(
          loop.native(), [file = config_.file] { return read_again(file); },
          [this](const Reload& reload, program::ReloadScope scope) { apply_reload(natt::uv::now(), reload, scope); }),
      metrics_(loop.native(), [this] { return status(); }, log.sink()),
      timer_(loop.native(), *this) {}

BrokerApp::~BrokerApp() = default;

Result<void> BrokerApp::open() {
  since_ = natt::uv::wall_now();
  if (auto prepared = config::prepare_state_dir(config_.state.dir); !prepared) return prepared;
  auto settings = config::NattSettings::load(config_.natt, config_.state.dir);
  if (!settings) return tl::unexpected(settings.error());
  settings_ = std::make_unique<config::NattSettings>(std::move(*settings));
  auto key = load_relay_key(config_.state.dir, random_);
  if (!key) return tl::unexpected(key.error());
  auto sites = site_options();
  if (!sites) return tl::unexpected(sites.error());
  std::vector<const SignedRoster*> rosters;
  for (const auto& site : *sites) rosters.push_back(&site.roster);
  gate_ = program::open_gate(config_.spa.kernel_gate, gated_sockets(config_.listen.dns_port), rosters, log_.sink());
  auto broker = natt::uv::Broker::open(loop_.native(),
                                       {.address = config_.listen.address,
                                        .port = config_.listen.port,
                                        .dns_port = config_.listen.dns_port,
                                        .dns_suffix = config_.spa.dns_suffix,
                                        .mode = config_.spa.mode,
                                        .tcp_visibility = config_.spa.tcp_visibility,
                                        .gate = gate_.gate.get(),
                                        .sockets = program::take_service_sockets(
                                            config_.listen.port, config_.listen.dns_port, log_.sink()),
                                        .relay_key = *key,
                                        .relay = {.log = log_.sink()},
                                        .sites = std::move(*sites),
                                        .retired_keys = &retired_keys_,
                                        .log = log_.sink()},
                                       random_);
  if (!broker) return tl::unexpected(broker.error());
  broker_ = std::move(*broker);
  apply_settings();
  for (const config::SiteConfig& site : config_.sites) {
    if (const RetiredKeys* kept = broker_->retired_keys(site.name)) retired_keys_.compact(site.name, *kept);
  }
  watch_files();
  add_commands();
  auto control = control::ControlServer::listen(loop_.native(), config_.control.socket, commands_, log_.sink());
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);
  metrics_.serve(config_.metrics);
  return {};
}

Result<std::vector<natt::uv::BrokerSiteOptions>> BrokerApp::site_options() {
  std::vector<natt::uv::BrokerSiteOptions> sites;
  for (const config::SiteConfig& site : config_.sites) {
    auto credentials = config::make_credentials(site);
    if (!credentials) return tl::unexpected(credentials.error());
    auto roster = program::newest_roster(site, config_.state.dir, log_.sink());
    if (!roster) return tl::unexpected(roster.error());
    natt::uv::BrokerSiteOptions options{
        .credentials = std::move(*credentials), .spa_keys = {}, .psk = site.psk, .roster = std::move(*roster)};
    options.replay_journal = program::replay_journal(config_.state.dir, site.name);
    options.spa_keys = pairs_of(site);
    options.retired = retired_keys_.load(site.name);
    sites.push_back(std::move(options));
  }
  return sites;
}

void BrokerApp::watch_files() {
  const auto watch = [this](const std::filesystem::path& file, std::function<void()> changed) {
    watches_.push_back(std::make_unique<control::FileWatch>(loop_.native(), file, std::move(changed)));
  };
  for (const config::SiteConfig& site : config_.sites) {
    watch(site.roster_file, [this, job = program::roster_job(site, config_.state.dir), name = site.name] {
      broker_->load_roster(name, job);
    });
  }
  // Renewed keys come with this file: nobody has to remember the signal. Settings wait for it.
  watch(config_.file, [this] { reload_.start(program::ReloadScope::kKeys); });
}

void BrokerApp::apply_settings() {
  const config::NattConfig& values = settings_->values();
  broker_->set_relay_thresholds(values.relay_sessions_threshold, values.relay_throughput_bits_per_second_threshold);
}

void BrokerApp::run() { loop_.run(*this); }

void BrokerApp::on_terminate(Instant now) {
  log_.sink()(LogLevel::kInfo, "natt.broker.draining seconds=" + std::to_string(kDrain.count()));
  broker_->drain(now, kDrain);
  stop_at_ = now + kDrain;
  timer_.arm(now);
}

void BrokerApp::on_timer(Instant now) {
  if (!stop_at_) return;
  if (broker_->is_drained() || now >= *stop_at_) return loop_.stop();
  timer_.arm(now + std::chrono::milliseconds(50));
}

void BrokerApp::on_reload(Instant) { reload_.start(program::ReloadScope::kKeysAndSettings); }

BrokerApp::Reload BrokerApp::read_again(const std::filesystem::path& file) {
  Reload reload{.config = config::load_broker_config(file), .credentials = {}};
  if (!reload.config) return reload;
  // Who uses a new key has to have it after a power cut, too.
  const auto synced = config::sync_file(file);
  for (const config::SiteConfig& site : reload.config->sites) {
    reload.credentials.push_back(synced ? config::make_credentials(site) : tl::unexpected(synced.error()));
  }
  return reload;
}

void BrokerApp::apply_reload(Instant now, const Reload& reload, program::ReloadScope scope) {
  const auto& config = reload.config;
  if (!config) return log_.sink()(LogLevel::kError, "natt.reload.refused reason=\"" + config.error().message + "\"");
  if (scope == program::ReloadScope::kKeysAndSettings) reload_settings(now, *config);
  for (std::size_t i = 0; i < config->sites.size(); ++i) {
    const config::SiteConfig& after = config->sites[i];
    const auto before = std::find_if(config_.sites.begin(), config_.sites.end(),
                                     [&after](const config::SiteConfig& site) { return site.name == after.name; });
    if (before == config_.sites.end()) continue;
    // load_broker_config() has made these credentials once already: what fails here is the disk.
    if (const auto& credentials = reload.credentials[i]; !credentials) {
      log_.sink()(LogLevel::kError, "natt.spa.not_renewed site=" + after.name + " reason=\"" +
                                        credentials.error().message + "\"");
      continue;
    }
    renew_site(now, *before, after, *reload.credentials[i]);
    *before = after;
  }
  log_.sink()(LogLevel::kInfo, std::string("natt.reload.done scope=") + program::to_string(scope));
}

void BrokerApp::reload_settings(Instant now, const config::BrokerConfig& config) {
  log_.set_level(config.log.level);
  settings_->reload(config.natt);
  apply_settings();
  metrics_.serve(config.metrics);
  if (auto set = broker_->set_tcp_policy(now, config.spa.mode, config.spa.tcp_visibility); !set) {
    log_.sink()(LogLevel::kError, "natt.spa.mode_failed reason=\"" + set.error().message + "\"");
  }
}

void BrokerApp::renew_site(Instant now, const config::SiteConfig& before, const config::SiteConfig& after,
                           const Credentials& credentials) {
  if (before.certificate_pem != after.certificate_pem || !config::same_keys(before, after)) {
    if (auto renewed = broker_->update_keys(now, after.name, credentials, pairs_of(after)); !renewed) {
      log_.sink()(LogLevel::kError, "natt.spa.not_renewed site=" + after.name + " reason=\"" +
                                        renewed.error().message + "\"");
    } else {
      log_.sink()(LogLevel::kInfo, "natt.spa.renewed site=" + after.name + " generation=" +
                                       std::to_string(after.spa_keys.front().generation));
    }
  }
  // After the keys: devices that learn a key of ours from the roster find it served.
  if (before.roster != after.roster) {
    broker_->load_roster(after.name, program::embedded_roster_job(after, config_.state.dir));
  }
  std::error_code failed;
  if (std::filesystem::exists(after.roster_file, failed)) {
    broker_->load_roster(after.name, program::roster_job(after, config_.state.dir));
  }
}

control::SessionCounts BrokerApp::counts(const std::string& site) const {
  if (site.empty()) return control::counts_of(broker_->session_counts());
  control::SessionCounts counts;
  for (const natt::uv::BrokerSession& session : broker_->sessions()) {
    if (!session.type || session.key.site != site) continue;
    switch (*session.type) {
      case ConnectionType::kDirect: ++counts.direct; break;
      case ConnectionType::kNatTraversal: ++counts.direct_via_natt; break;
      case ConnectionType::kRelay: ++counts.relayed; break;
    }
  }
  return counts;
}

control::Relayed BrokerApp::relayed() const {
  const RelayLoad load = broker_->relay_load();
  return {.sessions = load.sessions, .data_throughput_bits_per_second = load.bits_per_second};
}

void BrokerApp::add_door(control::Health& health) const {
  const natt::uv::BrokerDoorState door = broker_->door(natt::uv::now());
  if (!health.check("tcp_visibility_as_wanted", door.plan.shortfall.empty())) {
    health.add(control::HealthStatus::kWarning, door.plan.shortfall);
  }
  health.check("members_knocks_arrive", door.knocks_missing.empty());
  for (const KnockMissing& missing : door.knocks_missing) {
    health.add(control::HealthStatus::kWarning, sentence_of(missing));
  }
  health.tcp = {.mode = std::string(to_string(door.mode)),
                .tcp_visibility = std::string(to_string(door.plan.visibility)),
                .counters = program::tcp_counters(door.connections)};
  health.tcp->counters.emplace_back("knocksUsed", door.grants.redeemed);
  health.tcp->counters.emplace_back("knocksLive", door.live_grants);
}

control::Health BrokerApp::health() const {
  control::Health health;
  const RelayLoad load = broker_->relay_load();
  if (!health.check("relay_sessions_below_threshold", !load.above_sessions_threshold)) {
    health.add(control::HealthStatus::kWarning, std::to_string(load.sessions) +
                                                    " relayed sessions are above natt/relaySessionsThreshold: add a "
                                                    "broker to the site");
  }
  if (!health.check("relay_throughput_below_threshold", !load.above_throughput_threshold)) {
    health.add(control::HealthStatus::kWarning,
               "relayed throughput is above natt/relayThroughputBitsPerSecondThreshold: add a broker to the site");
  }
  add_door(health);
  program::add_gate_health(health, gate_);
  program::add_clock_health(health, clock_watch_);
  for (const natt::uv::BrokerSiteState& site : broker_->sites(natt::uv::wall_now())) add_site(health, site);
  health.gauges.emplace_back("relaySessions", load.sessions);
  health.gauges.emplace_back("relayBitsPerSecond", load.bits_per_second);
  add_counters(health);
  metrics_.add_health(health);
  return health;
}

void BrokerApp::add_site(control::Health& health, const natt::uv::BrokerSiteState& site) const {
  const Instant now = natt::uv::now();
  if (!health.check("roster_fresh", !site.roster_stale)) {
    health.add(control::HealthStatus::kWarning,
               "the roster of site " + site.name + " is past its next update: sign a new one with nattctl");
  }
  program::add_roster_health(health, site.name, site.roster_rejection, site.roster_not_persisted);
  program::add_lock_health(health, site.name, site.spa);
  add_keys(health, site);
  program::add_replay_health(health, site.name, site.replay, now);
  health.sites.push_back({.site = site.name,
                          .roster_number = site.roster_number,
                          .certificate_end = site.certificate_end,
                          .clock_offset_seconds = std::nullopt,
                          .brokers = {},
                          .channels = {{"gateway", site.gateways_online}, {"client", site.clients_online}}});
  control::SpaCounters& counters = health.spa.emplace_back(control::counters_of(site.name, site.spa));
  counters.devices_loading = site.devices_loading;
  if (site.replay) counters.replay = control::counters_of(*site.replay, now);
}

void BrokerApp::add_counters(control::Health& health) const {
  program::add_grant_counters(health, broker_->door(natt::uv::now()).grants);
  program::add_signal_counters(health, broker_->signal_stats());
  program::add_stun_counters(health, broker_->stun_stats());
  program::add_relay_counters(health, broker_->relay_stats());
  program::add_join_counters(health, broker_->tcp_relay_stats());
  program::add_udp_counters(health, broker_->udp_stats());
}

void BrokerApp::add_keys(control::Health& health, const natt::uv::BrokerSiteState& site) const {
  const auto left = std::chrono::floor<std::chrono::days>(site.certificate_end - natt::uv::wall_now());
  if (!health.check("certificate_lasts", left > std::chrono::days(30))) {
    health.add(left.count() < 0 ? control::HealthStatus::kError : control::HealthStatus::kWarning,
               "this broker's certificate of site " + site.name + " has " + std::to_string(left.count()) +
                   " days left: run nattctl renew for it and copy its new file here");
  }
  if (!health.check("own_keys_complete", !site.missing_own_key)) {
    health.add(control::HealthStatus::kWarning,
               "the roster of site " + site.name + " lists SPA key generation " +
                   std::to_string(*site.missing_own_key) + " of this broker, and " + config_.file.string() +
                   " does not hold it: copy the broker's renewed file here; devices try the older key after it");
  }
  if (!health.check("devices_loaded", site.devices_loading == 0)) {
    health.add(control::HealthStatus::kHealthy, std::to_string(site.devices_loading) + " devices of site " + site.name +
                                                    " are being loaded and can knock within seconds");
  }
  if (site.spa.own_keys > 1 && site.devices_loading == 0) {
    health.add(control::HealthStatus::kHealthy,
               std::to_string(site.spa.devices_on_newest_key) + " of " + std::to_string(site.spa.devices) +
                   " devices of site " + site.name + " have used this broker's newest SPA key since it started");
  }
  const auto& damaged = retired_keys_.damaged();
  if (!health.check("retired_keys_readable", std::find(damaged.begin(), damaged.end(), site.name) == damaged.end())) {
    health.add(control::HealthStatus::kWarning,
               "the list of retired SPA keys of site " + site.name +
                   " could not be read: older keys work again until their devices use the newer ones");
  }
}

std::vector<control::Session> BrokerApp::sessions() const {
  std::map<RelaySessionId, RelaySessionReport> relays;
  for (RelaySessionReport& report : broker_->relay_sessions()) relays.emplace(report.session, report);
  std::vector<control::Session> sessions;
  const Instant now = natt::uv::now();
  for (const natt::uv::BrokerSession& session : broker_->sessions()) {
    if (!session.type) continue;
    control::Session entry{.site = session.key.site,
                           .client = session.client.name,
                           .gateway = session.gateway.name,
                           .connection_type = *session.type,
                           .relay_reason = session.reason ? std::string(to_string(*session.reason)) : ""};
    entry.since = natt::uv::wall_now() - std::chrono::duration_cast<std::chrono::milliseconds>(now - session.since);
    const auto relay = relays.find(session.key.session.octets);
    if (relay != relays.end() && session.type == ConnectionType::kRelay) {
      entry.local_address = text_of(relay->second.gateway_address);
      entry.remote_address = text_of(relay->second.client_address);
      entry.bytes_in = relay->second.bytes_from_client;
      entry.bytes_out = relay->second.bytes_from_gateway;
      // What is relayed over TCP is TLS, over UDP QUIC.
      entry.protocol = relay->second.transport == RelayTransport::kTcp ? "tls" : "quic";
    }
    sessions.push_back(std::move(entry));
  }
  return sessions;
}

std::vector<control::Site> BrokerApp::sites() const {
  std::vector<control::Site> sites;
  for (const natt::uv::BrokerSiteState& state : broker_->sites(natt::uv::wall_now())) {
    control::Site site{.name = state.name, .roster_number = state.roster_number};
    for (const natt::uv::BrokerPeerState& peer : broker_->peers(state.name)) {
      site.peers.push_back({.name = peer.identity.name,
                            .role = std::string(to_string(peer.identity.role)),
                            .state = peer.remote ? "connected" : "disconnected",
                            .address = text_of(peer.remote)});
    }
    site.session_counts = counts(state.name);
    site.relayed = relayed();
    sites.push_back(std::move(site));
  }
  return sites;
}

control::Status BrokerApp::status() const {
  control::Status status{.program = "broker", .version = NATT_VERSION};
  for (const config::SiteConfig& site : config_.sites) status.identities.push_back(site.identity.uri());
  status.since = since_;
  status.health = health();
  status.session_counts = counts("");
  status.relayed = relayed();
  return status;
}

void BrokerApp::add_commands() {
  using control::Access;
  commands_.add("status", Access::kRead, [this](const json&) -> Result<json> { return json(status()); });
  commands_.add("health", Access::kRead, [this](const json&) -> Result<json> { return json(health()); });
  commands_.add("sites", Access::kRead, [this](const json&) -> Result<json> { return control::sites_json(sites()); });
  commands_.add("sessions", Access::kRead,
                [this](const json&) -> Result<json> { return control::sessions_json(sessions()); });
  commands_.add("nat-sockets", Access::kRead,
                [](const json&) -> Result<json> { return control::nat_sockets_json({}); });
  program::add_settings_commands(commands_, *settings_, [this] { apply_settings(); });
}

}  // namespace natt::broker
