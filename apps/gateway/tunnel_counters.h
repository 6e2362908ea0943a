// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gateway's tunnels under their names in `nattctl health` and metrics.

#include <natt/tunnel/server.h>

#include "apps/control/health.h"

namespace natt::gateway {

void add_tunnel_counters(control::Health& health, const tunnel::ServerStats& stats);

}  // namespace natt::gateway
