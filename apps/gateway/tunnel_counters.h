// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gateway's tunnels under their names in `nattctl health` and metrics.

#include <natt/tunnel/uv/gateway.h>

#include "apps/control/health.h"

namespace natt::gateway {

void add_tunnel_counters(control::Health& health, const tunnel::ServerStats& stats);
// In a TLS site, beside them: what both have is summed.
void add_tls_counters(control::Health& health, const tunnel::TlsServerStats& stats);
// The TCP port of a TLS site, as a broker's.
void add_door(control::Health& health, const tunnel::uv::GatewayDoorState& door);

}  // namespace natt::gateway
