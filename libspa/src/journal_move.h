// SPDX-License-Identifier: Apache-2.0
#pragma once

// Brings what one journal holds into a larger one, piece by piece, while the first goes on
// growing. Believes the memory no more than a reader would: what was not written so ends it.

#include <array>

#include "journal_writer.h"

namespace natt::spa {

class JournalMove {
 public:
  enum class State : std::uint8_t {
    kMoving,
    kLevel,    // `to` holds what `from` holds
    kDamaged,  // the memory of `from` is not what it wrote
  };
  // Both outlive it; nobody else writes to `to` before it is level.
  JournalMove(const JournalWriter& from, JournalWriter& to) : from_(from), to_(to) {}
  JournalMove(const JournalMove&) = delete;
  JournalMove& operator=(const JournalMove&) = delete;

  // At most `budget` records, about 70 ns each.
  [[nodiscard]] State step(std::size_t budget);

 private:
  // How far the chain of `from` was followed.
  struct Followed {
    std::uint64_t slot = kNoSlot;
    std::uint64_t count = 0;
    std::uint64_t chain = 0;
  };
  void move(std::size_t at, std::size_t& budget);

  const JournalWriter& from_;
  JournalWriter& to_;
  std::array<Followed, kJournalSegments> followed_{};
};

}  // namespace natt::spa
