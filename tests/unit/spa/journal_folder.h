// SPDX-License-Identifier: Apache-2.0
#pragma once

// A folder of its own for one journal, with a host clock that a test moves. The file
// system's own clock is real, so the host's starts ten hours ahead of it.

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <natt/spa/mapped_journal.h>

#include <tests/support/seeded_random.h>

#include "host_clock_double.h"

namespace natt::test {

struct JournalFolder {
  std::filesystem::path folder = make();
  SeededRandom random{test_seed()};
  HostClockDouble clock{WallTime(std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())) +
                        std::chrono::hours(10)};
  spa::DeviceId verifier = spa::DeviceId::of({"hq", Role::kBroker, "b1"});
  std::size_t records_per_slot = 256;
  std::optional<WallTime> keys_made;

  JournalFolder() = default;
  JournalFolder(const JournalFolder&) = delete;
  JournalFolder& operator=(const JournalFolder&) = delete;
  ~JournalFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }

  [[nodiscard]] std::filesystem::path path() const { return folder / "replay-hq.journal"; }
  [[nodiscard]] spa::MappedJournalOptions options() const {
    return {.path = path(), .verifier = verifier, .records_per_slot = records_per_slot, .keys_made = keys_made};
  }
  // Files that are being made, or are left of it.
  [[nodiscard]] std::ptrdiff_t unpublished() const {
    const std::filesystem::directory_iterator entries(folder);
    return std::count_if(begin(entries), end(entries), [](const auto& entry) {
      return entry.path().filename().string().starts_with("replay-hq.journal.new-");
    });
  }
  // Aborts when it is locked.
  [[nodiscard]] std::unique_ptr<spa::MappedJournal> open() {
    return std::move(spa::MappedJournal::open(options(), clock, random).value());
  }

 private:
  static std::filesystem::path make() {
    std::string name = (std::filesystem::temp_directory_path() / "natt-journal-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    return name;
  }
};

}  // namespace natt::test
