// SPDX-License-Identifier: Apache-2.0
#include "apps/program/site_status.h"

#include <algorithm>

#include <natt/uv/timer.h>

namespace natt::program {

namespace {

// What the operator is told of a broker that is not there: why it may be silent, else what the connection says.
std::string trouble_of(const natt::uv::SiteSignaling::BrokerState& broker) {
  if (broker.silence) return broker.silence->sentence;
  return broker.error ? broker.error->message : "";
}

}  // namespace

std::vector<control::Peer> broker_peers(const BrokerStates& brokers) {
  std::vector<control::Peer> peers;
  for (const auto& broker : brokers) {
    peers.push_back({.name = broker.identity.name,
                     .role = "broker",
                     .state = broker.connected ? "connected" : "connecting",
                     .address = broker.address.to_string(),
                     .detail = broker.connected ? "" : trouble_of(broker),
                     .cause = broker.silence ? std::string(to_string(broker.silence->cause)) : "",
                     .since = {}});
  }
  return peers;
}

std::vector<control::NatSocket> nat_sockets(const std::string& site, const SocketAddress& local,
                                            const BrokerStates& brokers) {
  std::vector<control::NatSocket> sockets;
  for (const auto& broker : brokers) {
    sockets.push_back({.site = site,
                       .broker = broker.identity.name,
                       .local_address = local.to_string(),
                       .broker_address = broker.address.to_string(),
                       .mapped_address = broker.mapped ? broker.mapped->to_string() : "",
                       .state = broker.mapped ? "ok" : broker.stun_error ? "failed" : "probing",
                       .error = broker.stun_error ? broker.stun_error->message : ""});
  }
  return sockets;
}

void add_site_health(control::Health& health, const std::string& site, const BrokerStates& brokers,
                     bool roster_stale) {
  const auto connected = std::count_if(brokers.begin(), brokers.end(), [](const auto& broker) { return broker.connected; });
  for (const auto& broker : brokers) {
    health.check("stun_answers", !broker.connected || !broker.stun_error);
    if (!broker.connected && !trouble_of(broker).empty()) {
      health.add(connected == 0 ? control::HealthStatus::kError : control::HealthStatus::kWarning, trouble_of(broker));
    }
    if (broker.connected && broker.stun_error) {
      health.add(control::HealthStatus::kWarning, broker.stun_error->message);
    }
  }
  health.check("broker_connected", connected != 0);
  health.check("all_brokers_connected", connected == static_cast<std::ptrdiff_t>(brokers.size()));
  if (!health.check("roster_fresh", !roster_stale)) {
    health.add(control::HealthStatus::kWarning,
               "the roster of site " + site + " is past its next update: sign a new one with nattctl");
  }
}

control::SiteFacts site_facts(const std::string& site, const BrokerStates& brokers, std::uint64_t roster_number,
                              std::chrono::milliseconds clock_offset) {
  control::SiteFacts facts{.site = site,
                           .roster_number = roster_number,
                           .certificate_end = std::nullopt,
                           .clock_offset_seconds = std::chrono::duration<double>(clock_offset).count(),
                           .brokers = {},
                           .channels = {}};
  for (const auto& broker : brokers) facts.brokers.emplace_back(broker.identity.name, broker.connected);
  return facts;
}

void add_lock_health(control::Health& health, const std::string& site, const spa::VerifierStats& stats) {
  if (health.check("spa_keys_locked", stats.keys_locked)) return;
  health.add(control::HealthStatus::kWarning,
             "SPA keys of site " + site + " may reach swap: raise the locked-memory limit (LimitMEMLOCK=, ulimit -l)");
}

std::filesystem::path replay_journal(const std::filesystem::path& state_dir, const std::string& site) {
  return state_dir / ("replay-" + site + ".journal");
}

void add_replay_health(control::Health& health, const std::string& site,
                       const std::optional<spa::ReplayStatus>& replay, Instant now) {
  if (!replay) return;
  const bool first = replay->state == spa::ReplayState::kFirst;
  if (!health.check("knocks_accepted", first || !replay->accept_from || *replay->accept_from <= now)) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(*replay->accept_from - now).count();
    health.add(control::HealthStatus::kWarning, "knocks at site " + site + " are refused for another " +
                                                    std::to_string(left) + " s, because older ones may be copies: " +
                                                    (replay->reason.empty() ? "the former run began so" : replay->reason));
  }
  if (!health.check("knocks_journaled", replay->state != spa::ReplayState::kUnavailable)) {
    health.add(control::HealthStatus::kWarning, "the knocks that site " + site +
                                                    " accepts are not journaled, so the next start will refuse them "
                                                    "for a minute: " + replay->reason);
  }
  if (!health.check("replay_journal_had_room", replay->refused == 0)) {
    health.add(control::HealthStatus::kWarning,
               std::to_string(replay->refused) + " knocks at site " + site + " were refused because the replay journal " +
                   "was full (" + std::to_string(replay->records_per_slot) + " in 64 s)");
  }
  if (!health.check("replay_journal_has_room", replay->no_room.empty())) {
    health.add(control::HealthStatus::kWarning,
               "the replay journal of site " + site + " could not grow, so more than " +
                   std::to_string(replay->records_per_slot) + " knocks in 64 s are refused until it can: " +
                   replay->no_room);
  }
  const bool has_file = replay->state != spa::ReplayState::kUnavailable;
  if (has_file && !health.check("replay_journal_in_locked_memory", replay->in_locked_memory)) {
    health.add(control::HealthStatus::kHealthy,
               "the replay journal of site " + site + " is not in locked memory: when the host is short of memory a "
               "knock may wait for the disk; raise the locked-memory limit (LimitMEMLOCK=, ulimit -l)");
  }
}

WallTime wall_of(Instant instant) {
  return natt::uv::wall_now() - std::chrono::duration_cast<std::chrono::milliseconds>(natt::uv::now() - instant);
}

double milliseconds(std::uint64_t microseconds) { return static_cast<double>(microseconds) / 1000.0; }

}  // namespace natt::program
