// SPDX-License-Identifier: Apache-2.0
#pragma once

// What gateway and client say about their brokers and STUN, in the words of status.h.

#include <vector>

#include <natt/uv/site_signaling.h>

#include "apps/control/status.h"

namespace natt::program {

using BrokerStates = std::vector<natt::uv::SiteSignaling::BrokerState>;

[[nodiscard]] std::vector<control::Peer> broker_peers(const BrokerStates& brokers);
[[nodiscard]] std::vector<control::NatSocket> nat_sockets(const std::string& site, const SocketAddress& local,
                                                          const BrokerStates& brokers);
// Adds what is wrong with brokers, STUN and roster.
void add_site_health(control::Health& health, const std::string& site, const BrokerStates& brokers, bool roster_stale);

[[nodiscard]] WallTime wall_of(Instant instant);
[[nodiscard]] double milliseconds(std::uint64_t microseconds);

}  // namespace natt::program
