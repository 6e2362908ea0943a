// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the programs tell about themselves, with the JSON names of DESIGN 10. A
// program fills these structs; `to_json` and nattctl do the rest. Value types.
// (nlohmann's header is heavy: only the fwd header is included here.)

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <natt/race.h>
#include <natt/time.h>

#include "apps/control/health.h"

namespace natt::control {

// "2026-01-31T08:00:00Z" (RFC 3339).
[[nodiscard]] std::string utc_text(WallTime time);

struct SessionCounts {
  std::uint64_t direct = 0;
  std::uint64_t direct_via_natt = 0;
  std::uint64_t relayed = 0;
};

struct Relayed {
  std::uint64_t sessions = 0;
  std::uint64_t data_throughput_bits_per_second = 0;  // mean of the last 10 minutes
};

// A tunnel (client: `connections` of `status`; gateway and broker: `sessions`).
struct Session {
  std::string site;
  std::string client;   // name; empty at the client itself
  std::string gateway;  // name
  ConnectionType connection_type = ConnectionType::kDirect;
  std::string protocol;      // of this tunnel, "quic" or "tls"; empty where it is not known (broker, unless relayed)
  std::string relay_reason;  // only with kRelay: "udp-blocked", "hard-nat-both", ...
  std::string local_address;
  std::string remote_address;
  std::optional<double> rtt_ms;  // absent where it is not measured (broker)
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  WallTime since{};
};

[[nodiscard]] SessionCounts counts_of(const ConnectionCounts& counts);
// How many of the tunnels run in which way.
[[nodiscard]] SessionCounts count(const std::vector<Session>& sessions);

// A broker as a gateway or client sees it, or the other way round.
struct Peer {
  std::string name;
  std::string role;   // "broker", "gateway", "client"
  std::string state;  // "connected", "connecting", "disconnected"
  std::string address;
  std::string detail;  // why it is not connected
  std::string cause;   // of its silence, in one word (natt/knock_diagnosis.h); brokers only
  std::optional<WallTime> since;
};

// One element of `sites`.
struct Site {
  std::string name;
  std::uint64_t roster_number = 0;
  std::optional<WallTime> roster_next_update;
  std::vector<Peer> peers;
  SessionCounts session_counts;
  Relayed relayed;
};

// One element of `nat-sockets`: a STUN client on (socket, broker).
struct NatSocket {
  std::string site;
  std::string broker;
  std::string local_address;
  std::string broker_address;
  std::string mapped_address;  // server-reflexive; empty: not known yet
  std::string state;           // "ok", "probing", "failed"
  std::string error;           // "STUN Binding Request failed: ..."
  std::optional<WallTime> last_response;
};

// `nattctl status` of every program.
struct Status {
  std::string program;  // "broker", "gateway", "client"
  std::string version;
  std::vector<std::string> identities;
  WallTime since{};
  Health health;
  SessionCounts session_counts;
  Relayed relayed;
  // Tunnels: `connections` at the client, left out of the other programs' status.
  std::optional<std::vector<Session>> connections;
  // Brokers as clients and gateways see them; left out of a broker's status.
  std::optional<std::vector<Peer>> brokers;
};

void to_json(nlohmann::json& json, const SessionCounts& counts);
void to_json(nlohmann::json& json, const Relayed& relayed);
void to_json(nlohmann::json& json, const Session& session);
void to_json(nlohmann::json& json, const Peer& peer);
void to_json(nlohmann::json& json, const Site& site);
void to_json(nlohmann::json& json, const NatSocket& socket);
void to_json(nlohmann::json& json, const Status& status);

// The results of the commands `sites`, `sessions` and `nat-sockets`.
[[nodiscard]] nlohmann::json sites_json(const std::vector<Site>& sites);
[[nodiscard]] nlohmann::json sessions_json(const std::vector<Session>& sessions);
[[nodiscard]] nlohmann::json nat_sockets_json(const std::vector<NatSocket>& sockets);

}  // namespace natt::control
