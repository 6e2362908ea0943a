// SPDX-License-Identifier: Apache-2.0
#pragma once

// How many frames a site can bring in one slot of 64 s: what replay sets, the journal and
// the limits of single devices are sized by.

#include <algorithm>
#include <cstddef>

namespace natt::spa {

// Every client reconnecting at once: a knock on all carriers with its repeats.
inline constexpr std::size_t kAcceptedPerClient = 6;
// The relay joins of a gateway or broker after a restart.
inline constexpr std::size_t kAcceptedPerInfrastructure = 4096;
// A site with a dozen gateways and no clients.
inline constexpr std::size_t kAcceptedLeast = 49152;

[[nodiscard]] constexpr std::size_t accepted_per_slot(std::size_t clients, std::size_t infrastructure) {
  return std::max(kAcceptedLeast, clients * kAcceptedPerClient + infrastructure * kAcceptedPerInfrastructure);
}

}  // namespace natt::spa
