// SPDX-License-Identifier: Apache-2.0
// What the replay journal costs: a record, a start with the records of a busy minute, and the longest turn of the loop
// while it grows under load.
#include <natt/spa/mapped_journal.h>

#include <stdlib.h>

#include <algorithm>
#include <functional>

#include "bench/harness.h"

using namespace natt;
using namespace natt::spa;

namespace {
// What 100,000 clients make in a slot when all of them come at once.
constexpr std::uint64_t kRecords = 600'000;
// Before the site had so many.
constexpr std::size_t kFew = 300'000;

double timed(double& longest_ms, const std::function<void()>& work) {
  const double start = bench::cpu_nanoseconds();
  work();
  const double ms = (bench::cpu_nanoseconds() - start) / 1e6;
  longest_ms = std::max(longest_ms, ms);
  return ms;
}

// Three slots full of records; a thousand more come in each turn.
void bench_growth(MappedJournalOptions options, const SystemHostClock& clock, SystemRandom& random) {
  options.records_per_slot = kFew;
  std::filesystem::remove(options.path);
  auto journal = std::move(*MappedJournal::open(options, clock, random));
  ReplayRecord record{Slot::of(clock.read().wall), random.bytes<20>()};
  for (std::size_t i = 0; i < 3 * kFew - 100'000; ++i) {
    if (i % kFew == 0) ++record.slot.number;
    if (!journal->append(record)) std::abort();
  }
  double elsewhere = 0;
  double longest = 0;
  std::unique_ptr<JournalRoom> room;
  const double make = timed(
      elsewhere, [&] { room = std::move(*JournalRoom::make(options.path, journal->wanted_room(kRecords).value())); });
  timed(longest, [&] { journal->begin_move(std::move(room)); });
  std::size_t pieces = 0;
  for (MovePiece piece = MovePiece::kMore; piece == MovePiece::kMore; ++pieces) {
    timed(longest, [&] { piece = journal->move_piece(); });
    for (int i = 0; i < 100; ++i) static_cast<void>(journal->append(record));
  }
  Result<void> published;
  timed(elsewhere, [&] { published = journal->room().publish(); });
  std::unique_ptr<JournalRoom> old;
  timed(longest, [&] { old = journal->end_move(published); });
  const double discard = timed(elsewhere, [&] { old.reset(); });
  bench::print("replay_journal_grow_longest_turn", longest, "ms");
  bench::print("replay_journal_grow_turns", static_cast<double>(pieces), "turns");
  bench::print("replay_journal_grow_elsewhere", make + discard, "ms");
}
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
  bench_growth(options, clock, random);
  std::filesystem::remove_all(folder);
  return 0;
}
