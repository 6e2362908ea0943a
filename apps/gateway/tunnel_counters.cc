// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/tunnel_counters.h"

namespace natt::gateway {

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
  health.gauges.emplace_back("tunnelConnections", stats.connections);
}

}  // namespace natt::gateway
