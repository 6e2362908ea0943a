// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether a journal that was read whole is also the last word: not an older copy of
// itself, not cut short by a power failure, not overtaken by a clock that was set while
// nobody looked. Pure; the rules stand in docs/ARCHITECTURE.md, "Replay, restart and clock".

#include <optional>
#include <string>

#include "journal_reader.h"

namespace natt::spa {

// What the host says when a journal is opened.
struct JournalWitness {
  HostTime now;
  JournalOrigin origin;   // of the file as it is found, on this boot
  WallTime changed_at{};  // its ctime, which nobody can set
};

// A journal whose last entry is older than this does not vouch for anything: it may be a copy of then. A program that
// was killed is back within a second or two, a package upgrade within ten.
inline constexpr std::chrono::seconds kJournalTrust{30};
// The last entry is at most this much older than the last change of the file: an entry is made within 100 ms of
// every record, and a second gives the scheduler room.
inline constexpr std::chrono::seconds kJournalLag{1};
// Between two readings in one run of a host the clocks drift apart by less, unless the calendar was set.
inline constexpr std::chrono::seconds kJournalClockNoise{1};

// Why the journal cannot vouch for the last run, as one clause; nothing when it can.
[[nodiscard]] std::optional<std::string> find_doubt(const JournalContents& contents, const JournalWitness& witness);

}  // namespace natt::spa
