// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sockets that a service manager holds for a broker (sd_listen_fds(3)): they stay open, with
// the kernel gate on them, while the broker restarts.

#include <cstdint>

#include <natt/log.h>
#include <natt/uv/broker.h>

namespace natt::program {

// Those of LISTEN_FDS that are bound to the broker's ports; others are closed with a log line. Takes the variables out
// of the environment. None when the program was not started so. Call it once.
[[nodiscard]] natt::uv::BrokerSockets take_service_sockets(std::uint16_t port, std::uint16_t dns_port,
                                                           const LogSink& log);

}  // namespace natt::program
