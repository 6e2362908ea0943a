// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/tunnel_counters.h"

#include <algorithm>

#include "apps/program/library_counters.h"

namespace natt::gateway {
namespace {

// Of both kinds together.
void add_connections(control::Health& health, std::uint64_t count) {
  constexpr std::string_view kName = "tunnelConnections";
  const auto known = std::find_if(health.gauges.begin(), health.gauges.end(),
                                  [&](const auto& gauge) { return gauge.first == kName; });
  if (known == health.gauges.end()) {
    health.gauges.emplace_back(kName, count);
  } else {
    known->second += count;
  }
}

}  // namespace

void add_tunnel_counters(control::Health& health, const tunnel::ServerStats& stats) {
  health.add({"tunnelPacketsDropped",
              {{"malformed", stats.malformed},
               {"unknown_id", stats.unknown_id},
               {"foreign_id", stats.foreign_id},
               {"wrong_version", stats.wrong_version},
               {"no_token", stats.no_token},
               {"not_admitted", stats.not_admitted},
               {"over_limit", stats.over_limit},
               {"draining", stats.draining}}});
  health.add({"tunnelEvents", {{"handshake_failed", stats.handshakes_failed}, {"packet_held", stats.held}}});
  add_connections(health, stats.connections);
}

void add_tls_counters(control::Health& health, const tunnel::TlsServerStats& stats) {
  health.add({"tunnelEvents",
              {{"handshake_failed", stats.handshakes_failed},
               {"tcp_over_limit", stats.over_limit},
               {"tcp_draining", stats.draining}}});
  add_connections(health, stats.connections);
}

void add_door(control::Health& health, const tunnel::uv::GatewayDoorState& door) {
  if (!health.check("tcp_visibility_as_wanted", door.plan.shortfall.empty())) {
    health.add(control::HealthStatus::kWarning, door.plan.shortfall);
  }
  health.tcp = {.mode = std::string(to_string(SpaMode::kTcp)),
                .tcp_visibility = std::string(to_string(door.plan.visibility)),
                .counters = program::tcp_counters(door.connections)};
}

}  // namespace natt::gateway
