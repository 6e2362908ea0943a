// SPDX-License-Identifier: Apache-2.0
#pragma once

// What `nattctl health` says: sentences for people, and the facts and counters from which
// /metrics is made as well (apps/metrics/health_metrics.h), so that the two cannot disagree.
// Value types.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <natt/spa/mapped_journal.h>
#include <natt/spa/verifier.h>
#include <natt/time.h>

namespace natt::control {

enum class HealthStatus : std::uint8_t { kHealthy, kWarning, kError };
[[nodiscard]] std::string_view to_string(HealthStatus status);  // "healthy", "warning", "error"

// By name, zero ones too: what became of every STUN request, say.
using Counters = std::vector<std::pair<std::string, std::uint64_t>>;

// Counters of one kind since the program started. The name is the key in JSON: "stunRequests".
struct CounterTable {
  std::string name;
  Counters counts;
};

// The knocks that a verifier remembers over restarts.
struct ReplayCounters {
  spa::ReplayState state = spa::ReplayState::kMissing;
  std::uint64_t appended = 0;
  std::uint64_t refused = 0;   // the journal was full
  std::uint64_t restored = 0;  // of the former run
  std::uint64_t records_per_slot = 0;
  double refuses_for_seconds = 0;  // knocks that may be copies of older ones, from now
};

// What SPA has done for strangers and members: one site's verifier.
struct SpaCounters {
  std::string site;
  std::uint64_t granted = 0;
  std::uint64_t retransmits = 0;  // of these
  Counters drops;                 // by reason
  std::size_t devices = 0;
  std::size_t devices_loading = 0;
  std::size_t devices_on_newest_key = 0;
  std::size_t keys = 0;
  std::size_t own_keys = 0;
  std::size_t nonces = 0;
  std::uint64_t clock_steps_back = 0;
  std::optional<ReplayCounters> replay;  // absent: nothing is kept
};
[[nodiscard]] SpaCounters counters_of(const std::string& site, const spa::VerifierStats& stats);
[[nodiscard]] ReplayCounters counters_of(const spa::ReplayStatus& status, Instant now);

// A broker's TCP port.
struct TcpDoor {
  std::string mode;            // in force: "udp-tcp", "tcp"
  std::string tcp_visibility;  // "syn", "ip", "open"
  Counters counters;
};

// What the kernel gate did with packets, by verdict; why it is off, where it is.
struct KernelGate {
  bool active = false;
  std::string reason;
  Counters packets;
};

// A site as this program stands in it.
struct SiteFacts {
  std::string site;
  std::uint64_t roster_number = 0;
  std::optional<WallTime> certificate_end;
  // What this device adds to its calendar to meet its brokers' clocks. Gateways and clients.
  std::optional<double> clock_offset_seconds;
  // Whether there is a signaling channel to each, by name. Gateways and clients.
  std::vector<std::pair<std::string, bool>> brokers;
  // Signaling channels by role ("gateway", "client"). Brokers.
  Counters channels;
};

// The worst detail decides the status.
struct Health {
  HealthStatus status = HealthStatus::kHealthy;
  std::vector<std::string> details;  // one sentence each, with what to do
  std::vector<std::pair<std::string, bool>> checks;
  std::vector<SiteFacts> sites;
  std::vector<SpaCounters> spa;    // brokers and gateways
  std::optional<TcpDoor> tcp;      // brokers
  std::optional<KernelGate> gate;  // brokers and gateways
  std::vector<CounterTable> counters;
  Counters gauges;  // what is there now: "tunnelStreams", ...

  void add(HealthStatus severity, std::string detail);
  // A fact that is good or not, beside its detail; of one name (two sites) all have to be good. Returns `good`.
  bool check(std::string_view name, bool good);
  // Of one name (two sites) their sums.
  void add(CounterTable table);
};

void to_json(nlohmann::json& json, const ReplayCounters& counters);
void to_json(nlohmann::json& json, const SpaCounters& counters);
void to_json(nlohmann::json& json, const TcpDoor& door);
void to_json(nlohmann::json& json, const KernelGate& gate);
void to_json(nlohmann::json& json, const SiteFacts& facts);
void to_json(nlohmann::json& json, const Health& health);

}  // namespace natt::control
