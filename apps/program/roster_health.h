// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an operator has to know of the roster of a site: one that came and was not taken,
// and one that was taken and would be forgotten at the next start.

#include <optional>
#include <string>

#include <natt/roster_store.h>

#include "apps/control/status.h"

namespace natt::program {

// `not_persisted` is persist_roster()'s word, empty when the newest roster is on the disk.
void add_roster_health(control::Health& health, const std::string& site,
                       const std::optional<RosterRejection>& rejection, const std::string& not_persisted);

}  // namespace natt::program
