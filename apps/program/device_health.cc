// SPDX-License-Identifier: Apache-2.0
#include "apps/program/device_health.h"

#include <cstdio>

#include <natt/uv/device_memory_file.h>
#include <natt/uv/site_signaling.h>
#include <natt/uv/timer.h>

#include "apps/config/site_material.h"
#include "apps/program/roster_files.h"

namespace natt::program {

std::filesystem::path memory_file(const std::filesystem::path& state_dir, const std::string& site) {
  return state_dir / ("device-" + site);
}

void add_clock_health(control::Health& health, ClockWatch& watch) {
  const auto complaint = watch.complaint(spa::SystemHostClock().read());
  if (!health.check("clock_runs_on", !complaint)) health.add(control::HealthStatus::kWarning, *complaint);
}

void add_own_health(control::Health& health, const std::vector<std::string>& complaints) {
  health.check("own_clock_and_keys", complaints.empty());
  for (const std::string& complaint : complaints) health.add(control::HealthStatus::kWarning, complaint);
}

std::vector<std::string> file_complaints(const config::SiteConfig& site, const std::filesystem::path& state_dir,
                                         WallTime wall_now) {
  std::vector<std::string> complaints;
  const natt::uv::DeviceMemoryFile file(memory_file(state_dir, site.name), {});
  DeviceMemory memory = file.memory();
  // The full roster, which brokers and gateways have, lists the device itself.
  const auto documents = newest_roster(site, state_dir, {});
  const auto credentials = config::make_credentials(site);
  if (documents && credentials) {
    const RosterView view = config::roster_view(site.identity.role);
    const auto roster =
        parse_roster(view == RosterView::kFull ? documents->full : documents->client, view, credentials->site_ca());
    const RosterDevice* self = roster ? roster->find(site.identity) : nullptr;
    if (self != nullptr && !self->spa_keys.empty()) memory.note_listed(self->spa_keys.back().generation);
  }
  if (auto clock = file.clock_complaint()) complaints.push_back(std::move(*clock));
  if (auto key = memory.key_complaint(site.spa_keys.front().generation)) complaints.push_back(std::move(*key));
  if (credentials) {
    const WallTime corrected = wall_now + file.clock_offset();
    if (auto certificate = natt::uv::certificate_complaint(*credentials, corrected)) {
      complaints.push_back(std::move(*certificate));
    }
  }
  return complaints;
}

void warn_about(const char* program, const std::vector<config::SiteConfig>& sites,
                const std::filesystem::path& state_dir) {
  for (const config::SiteConfig& site : sites) {
    for (const std::string& complaint : file_complaints(site, state_dir, natt::uv::wall_now())) {
      std::fprintf(stderr, "%s: site %s: %s\n", program, site.name.c_str(), complaint.c_str());
    }
  }
}

}  // namespace natt::program
