// SPDX-License-Identifier: Apache-2.0
#pragma once

// The counters of the libraries' cores under their names in `nattctl health` and metrics.

#include <natt/address_grants.h>
#include <natt/punch_agent.h>
#include <natt/relay_server.h>
#include <natt/signal_admission.h>
#include <natt/signal_hub.h>
#include <natt/stun_server.h>
#include <natt/tcp_relay.h>
#include <natt/uv/udp_socket.h>

#include "apps/control/health.h"

namespace natt::program {

// For TcpDoor::counters.
[[nodiscard]] control::Counters tcp_counters(const SignalAdmissionStats& stats);

void add_stun_counters(control::Health& health, const StunServer::Stats& stats);
// Over UDP and TCP together: Broker::relay_stats().
void add_relay_counters(control::Health& health, const RelayStats& stats);
void add_join_counters(control::Health& health, const TcpRelayStats& stats);
void add_signal_counters(control::Health& health, const SignalHubStats& stats);
void add_grant_counters(control::Health& health, const AddressGrantsStats& stats);
void add_punch_counters(control::Health& health, const PunchAgent::Stats& stats);
void add_udp_counters(control::Health& health, const natt::uv::UdpSocket::Stats& stats);

}  // namespace natt::program
