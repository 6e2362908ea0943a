// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/tunnel_counters.h"

#include "apps/program/library_counters.h"

namespace natt::gateway {

void add_tunnel_counters(control::Health& health, const tunnel::ServerStats& stats,
                         const std::optional<tunnel::TlsServerStats>& tls) {
  health.add({"tunnelPacketsDropped",
              {{"malformed", stats.malformed},
               {"unknown_id", stats.unknown_id},
               {"foreign_id", stats.foreign_id},
               {"wrong_version", stats.wrong_version},
               {"no_token", stats.no_token},
               {"not_admitted", stats.not_admitted},
               {"over_limit", stats.over_limit},
               {"draining", stats.draining}}});
  const tunnel::TlsServerStats over_tcp = tls.value_or(tunnel::TlsServerStats{});
  health.add({"tunnelEvents",
              {{"handshake_failed", stats.handshakes_failed + over_tcp.handshakes_failed},
               {"packet_held", stats.held},
               {"tcp_over_limit", over_tcp.over_limit}}});
  health.gauges.emplace_back("tunnelConnections", stats.connections + over_tcp.connections);
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
