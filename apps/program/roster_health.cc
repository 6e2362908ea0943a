// SPDX-License-Identifier: Apache-2.0
#include "apps/program/roster_health.h"

#include <natt/roster_on_disk.h>

namespace natt::program {

void add_roster_health(control::Health& health, const std::string& site,
                       const std::optional<RosterRejection>& rejection, const std::string& not_persisted) {
  if (!health.check("newest_roster_taken", !rejection || rejection->is_older)) {
    health.add(control::HealthStatus::kWarning,
               "a roster of site " + site + " was refused, the one before is in force: " + rejection->reason);
  } else if (rejection) {
    health.add(control::HealthStatus::kHealthy, "a roster of site " + site + " was ignored: " + rejection->reason);
  }
  if (!health.check("newest_roster_persisted", not_persisted.empty())) {
    const std::string seconds =
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(RosterOnDisk::kRetry).count());
    health.add(control::HealthStatus::kWarning, "the newest roster of site " + site +
                                                    " is in force but not on the disk, so a restart would go by an "
                                                    "older one and take revoked devices back; it is written again "
                                                    "every " + seconds + " s: " + not_persisted);
  }
}

}  // namespace natt::program
