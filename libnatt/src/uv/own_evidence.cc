// SPDX-License-Identifier: Apache-2.0
#include "src/uv/own_evidence.h"

#include <algorithm>

#include <natt/uv/timer.h>

namespace natt::uv {

std::optional<std::vector<std::uint16_t>> OwnEvidence::listed_generations() const {
  if (view != RosterView::kFull) return std::nullopt;
  std::vector<std::uint16_t> generations;
  if (const RosterDevice* self = roster.find(credentials.identity())) {
    for (const SpaPublicKey& key : self->spa_keys) generations.push_back(key.generation);
  }
  return generations;
}

std::optional<std::chrono::milliseconds> OwnEvidence::clock_error() const {
  const ClockOffset& clock = memory.memory().clock;
  if (clock.trust(spa::SystemHostClock().read()) == ClockOffset::Trust::kExact) return std::chrono::milliseconds(0);
  const auto behind = std::max(roster.issued_at, clock.last_session().value_or(WallTime{})) - wall_now();
  return behind > std::chrono::milliseconds(0) ? std::optional(behind) : std::nullopt;
}

std::optional<std::chrono::milliseconds> OwnEvidence::past_certificate() const {
  if (memory.memory().clock.trust(spa::SystemHostClock().read()) == ClockOffset::Trust::kExact) return std::nullopt;
  const auto past = memory.time() - credentials.not_after();
  return past > std::chrono::milliseconds(0) ? std::optional(past) : std::nullopt;
}

}  // namespace natt::uv
