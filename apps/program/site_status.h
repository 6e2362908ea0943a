// SPDX-License-Identifier: Apache-2.0
#pragma once

// What gateway and client say about their brokers and STUN, in the words of status.h.

#include <filesystem>
#include <optional>
#include <vector>

#include <natt/spa/mapped_journal.h>
#include <natt/uv/site_signaling.h>

#include "apps/control/status.h"

namespace natt::program {

using BrokerStates = std::vector<natt::uv::SiteSignaling::BrokerState>;

[[nodiscard]] std::vector<control::Peer> broker_peers(const BrokerStates& brokers);
[[nodiscard]] std::vector<control::NatSocket> nat_sockets(const std::string& site, const SocketAddress& local,
                                                          const BrokerStates& brokers);
// Adds what is wrong with brokers, STUN and roster.
void add_site_health(control::Health& health, const std::string& site, const BrokerStates& brokers, bool roster_stale);

// A site as a gateway or client stands in it.
[[nodiscard]] control::SiteFacts site_facts(const std::string& site, const BrokerStates& brokers,
                                            std::uint64_t roster_number, std::chrono::milliseconds clock_offset);

// Warns when keys of the site may reach swap.
void add_lock_health(control::Health& health, const std::string& site, const spa::VerifierStats& stats);

// Where a broker or gateway remembers the knocks of a site that it accepted.
[[nodiscard]] std::filesystem::path replay_journal(const std::filesystem::path& state_dir, const std::string& site);
// Adds what its operator has to know of it: knocks that are refused for it.
void add_replay_health(control::Health& health, const std::string& site,
                       const std::optional<spa::ReplayStatus>& replay, Instant now);

[[nodiscard]] WallTime wall_of(Instant instant);
[[nodiscard]] double milliseconds(std::uint64_t microseconds);

}  // namespace natt::program
