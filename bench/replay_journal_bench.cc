// SPDX-License-Identifier: Apache-2.0
// What the replay journal costs: a record, and a start with the records of a busy minute.
#include <natt/spa/mapped_journal.h>

#include <stdlib.h>

#include "bench/harness.h"

using namespace natt;
using namespace natt::spa;

namespace {
// What 100,000 clients make in a slot when all of them come at once.
constexpr std::uint64_t kRecords = 600'000;
}  // namespace

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "natt-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  SystemRandom random;
  const SystemHostClock clock;
  const MappedJournalOptions options{.path = std::filesystem::path(folder) / "journal",
                                     .verifier = {},
                                     .records_per_slot = kRecords,
                                     .keys_made = std::nullopt};
  {
    auto journal = MappedJournal::open(options, clock, random);
    if (!journal) return 1;
    ReplayRecord record{Slot::of(clock.read().wall), random.bytes<20>()};
    bench::run("replay_journal_append", kRecords, [&] {
      ++record.slot.number;
      for (std::uint64_t i = 0; i < kRecords; ++i) {
        record.opening[0] = static_cast<std::uint8_t>(i);
        if (!(*journal)->append(record)) std::abort();
      }
    });
  }
  bench::run("replay_journal_start", 1, [&] {
    if (!MappedJournal::open(options, clock, random)) std::abort();
  });
  std::filesystem::remove_all(folder);
  return 0;
}
