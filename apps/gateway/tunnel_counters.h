// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gateway's tunnels under their names in `nattctl health` and metrics.

#include <optional>

#include <natt/tunnel/uv/gateway.h>

#include "apps/control/health.h"

namespace natt::gateway {

// `tls` is absent in a QUIC site.
void add_tunnel_counters(control::Health& health, const tunnel::ServerStats& quic,
                         const std::optional<tunnel::TlsServerStats>& tls);
// The TCP port of a TLS site, as a broker's.
void add_door(control::Health& health, const tunnel::uv::GatewayDoorState& door);

}  // namespace natt::gateway
