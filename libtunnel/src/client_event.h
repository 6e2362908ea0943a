// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a client's owner is told of what happened to its connection. Pure function.

#include <natt/tunnel/client_tunnel.h>

#include "src/tunnel_connection.h"

namespace natt::tunnel {

[[nodiscard]] ClientEvent to_client_event(ConnectionEvent&& event);

}  // namespace natt::tunnel
