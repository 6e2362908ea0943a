// SPDX-License-Identifier: Apache-2.0
#include "journal_trust.h"

namespace natt::spa {

std::optional<std::string> find_doubt(const JournalContents& contents, const JournalWitness& witness) {
  const JournalOrigin& origin = contents.origin;
  if (origin.boot_id == decltype(origin.boot_id){} || origin.boot_id != witness.origin.boot_id) {
    return "the host was restarted since, and may have lost the last entries";
  }
  if (origin != witness.origin) return "it is a copy of the file that was written";
  const Duration age = witness.now.boot - contents.last_beat.boot;
  if (age < Duration(0)) return "its last entry lies in the future";
  if (age > kJournalTrust) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
    return "its last entry is " + std::to_string(seconds) + " s old";
  }
  const Duration set = (witness.now.wall - contents.last_beat.wall) - age;
  if (std::chrono::abs(set) > kJournalClockNoise) return "the clock was set since its last entry";
  if (witness.changed_at > contents.last_beat.wall + kJournalLag) return "the file was changed after its last entry";
  return std::nullopt;
}

}  // namespace natt::spa
