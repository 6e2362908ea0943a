// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the tests of nattctl's site commands share.

#include <filesystem>

#include <natt/roster.h>

#include "apps/config/client_config.h"
#include "apps/nattctl/site_commands.h"

namespace natt::test {

inline const Identity kAlice{"hq", Role::kClient, "alice"};

// `nattctl init DIR --site hq ...` with broker b1, gateway gw1, clients alice and bob.
[[nodiscard]] ctl::InitArguments init_arguments(const std::filesystem::path& dir);
// The configuration in a client's file, which has to be good.
[[nodiscard]] config::ClientConfig client_config(const std::filesystem::path& file);
// The full roster as it stands in DIR, verified against the CA in the broker's file.
[[nodiscard]] Roster roster_in(const std::filesystem::path& dir);

}  // namespace natt::test
