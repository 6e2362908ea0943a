// SPDX-License-Identifier: Apache-2.0
#pragma once

// `nattctl config get|set` for the three natt/... keys, the same in every program.

#include <functional>

#include "apps/config/natt_settings.h"
#include "apps/control/command_table.h"

namespace natt::program {

// `settings` outlives the table; `changed` runs after a set that took.
void add_settings_commands(control::CommandTable& commands, config::NattSettings& settings,
                           std::function<void()> changed);

}  // namespace natt::program
