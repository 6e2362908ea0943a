// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a device knows of itself when a broker is silent: its listing, its clock, its
// certificate. For SilenceEvidence. A view: what it refers to outlives it.

#include <chrono>
#include <optional>
#include <vector>

#include <natt/credentials.h>
#include <natt/roster.h>
#include <natt/roster_store.h>
#include <natt/uv/device_memory_file.h>

namespace natt::uv {

struct OwnEvidence {
  const Credentials& credentials;
  const DeviceMemoryFile& memory;
  const Roster& roster;
  RosterView view;

  // Nothing where the roster does not say: the clients' view lists no clients.
  [[nodiscard]] std::optional<std::vector<std::uint16_t>> listed_generations() const;
  // Once a broker was met in this boot its time is known, whatever happened to the calendar since. Otherwise a clock
  // that shows a time before the last session, or before the roster was issued, is behind by at least as much.
  [[nodiscard]] std::optional<std::chrono::milliseconds> clock_error() const;
  // How long ago it ended, by a clock that nobody has confirmed in this boot.
  [[nodiscard]] std::optional<std::chrono::milliseconds> past_certificate() const;
};

}  // namespace natt::uv
