// SPDX-License-Identifier: Apache-2.0
#include "apps/control/status.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

namespace natt::control {
namespace {

void put_time(nlohmann::json& json, const char* key, const std::optional<WallTime>& time) {
  if (time) json[key] = utc_text(*time);
}

}  // namespace

std::string utc_text(WallTime time) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  char text[32] = {};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "unknown";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

SessionCounts counts_of(const ConnectionCounts& counts) {
  const auto of = [&counts](ConnectionType type) { return counts[static_cast<std::size_t>(type)]; };
  return {.direct = of(ConnectionType::kDirect),
          .direct_via_natt = of(ConnectionType::kNatTraversal),
          .relayed = of(ConnectionType::kRelay)};
}

SessionCounts count(const std::vector<Session>& sessions) {
  SessionCounts counts;
  for (const Session& session : sessions) {
    switch (session.connection_type) {
      case ConnectionType::kDirect: ++counts.direct; break;
      case ConnectionType::kNatTraversal: ++counts.direct_via_natt; break;
      case ConnectionType::kRelay: ++counts.relayed; break;
    }
  }
  return counts;
}

void to_json(nlohmann::json& json, const SessionCounts& counts) {
  json = {{"direct", counts.direct}, {"directViaNatt", counts.direct_via_natt}, {"relayed", counts.relayed}};
}

void to_json(nlohmann::json& json, const Relayed& relayed) {
  json = {{"sessions", relayed.sessions}, {"dataThroughputBitsPerSecond", relayed.data_throughput_bits_per_second}};
}

void to_json(nlohmann::json& json, const Session& session) {
  json = {{"site", session.site},
          {"gateway", session.gateway},
          {"connectionType", natt::to_string(session.connection_type)},
          {"localAddress", session.local_address},
          {"remoteAddress", session.remote_address},
          {"rttMs", nullptr},
          {"bytesIn", session.bytes_in},
          {"bytesOut", session.bytes_out},
          {"since", utc_text(session.since)}};
  if (session.rtt_ms) json["rttMs"] = *session.rtt_ms;
  if (!session.client.empty()) json["client"] = session.client;
  if (!session.protocol.empty()) json["protocol"] = session.protocol;
  if (!session.relay_reason.empty()) json["relayReason"] = session.relay_reason;
}

void to_json(nlohmann::json& json, const Peer& peer) {
  json = {{"name", peer.name}, {"role", peer.role}, {"state", peer.state}, {"address", peer.address}};
  if (!peer.detail.empty()) json["detail"] = peer.detail;
  if (!peer.cause.empty()) json["cause"] = peer.cause;
  put_time(json, "since", peer.since);
}

void to_json(nlohmann::json& json, const Site& site) {
  json = {{"name", site.name},
          {"rosterNumber", site.roster_number},
          {"peers", site.peers},
          {"sessionCounts", site.session_counts},
          {"relayed", site.relayed}};
  put_time(json, "rosterNextUpdate", site.roster_next_update);
}

void to_json(nlohmann::json& json, const NatSocket& socket) {
  json = {{"site", socket.site},
          {"broker", socket.broker},
          {"localAddress", socket.local_address},
          {"brokerAddress", socket.broker_address},
          {"mappedAddress", nullptr},
          {"state", socket.state}};
  if (!socket.mapped_address.empty()) json["mappedAddress"] = socket.mapped_address;
  if (!socket.error.empty()) json["error"] = socket.error;
  put_time(json, "lastResponse", socket.last_response);
}

void to_json(nlohmann::json& json, const Status& status) {
  json = {{"program", status.program},       {"version", status.version}, {"identities", status.identities},
          {"since", utc_text(status.since)}, {"health", status.health},   {"sessionCounts", status.session_counts},
          {"relayed", status.relayed}};
  if (status.connections) json["connections"] = *status.connections;
  if (status.brokers) json["brokers"] = *status.brokers;
}

nlohmann::json sites_json(const std::vector<Site>& sites) { return {{"sites", sites}}; }

nlohmann::json sessions_json(const std::vector<Session>& sessions) { return {{"sessions", sessions}}; }

nlohmann::json nat_sockets_json(const std::vector<NatSocket>& sockets) { return {{"natSockets", sockets}}; }

}  // namespace natt::control
