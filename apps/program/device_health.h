// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a device can say of itself when brokers are silent: its clock, its key generation,
// its certificate (natt/device_memory.h).

#include <filesystem>
#include <string>
#include <vector>

#include <natt/time.h>

#include "apps/config/site_config.h"
#include "apps/control/status.h"
#include "apps/program/clock_watch.h"

namespace natt::program {

// `<state dir>/device-<site>`.
[[nodiscard]] std::filesystem::path memory_file(const std::filesystem::path& state_dir, const std::string& site);
// Of a program that is knocked at.
void add_clock_health(control::Health& health, ClockWatch& watch);
void add_own_health(control::Health& health, const std::vector<std::string>& complaints);
// For --check: what is wrong with a good file, as far as the state folder knows. Sentences.
[[nodiscard]] std::vector<std::string> file_complaints(const config::SiteConfig& site,
                                                       const std::filesystem::path& state_dir, WallTime wall_now);
// The same on stderr, for all sites.
void warn_about(const char* program, const std::vector<config::SiteConfig>& sites,
                const std::filesystem::path& state_dir);

}  // namespace natt::program
