// SPDX-License-Identifier: Apache-2.0
#pragma once

// The key under which a broker seals relay grants: made once, kept in the state folder, so
// that relayed sessions survive a restart.

#include <filesystem>

#include <natt/error.h>
#include <natt/random.h>
#include <natt/relay_wire.h>

namespace natt::broker {

// Reads `<state dir>/relay.key` (32 octets, 0600), or makes it.
[[nodiscard]] Result<RelayKey> load_relay_key(const std::filesystem::path& state_dir, Random& random);

}  // namespace natt::broker
