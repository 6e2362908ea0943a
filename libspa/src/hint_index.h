// SPDX-License-Identifier: Apache-2.0
#pragma once

// From a hint to a credential, over the slots in which a frame can be valid.
//
// With now - 60 s in slot s, frames of s, s+1 and, from 4 s before it starts on, s+2
// are acceptable; three tables hold them. When s moves on, the oldest table is taken
// for the new s+2, which is first asked for 8 s later: 100,000 keys are prepared in
// these 8 s in pieces of about a millisecond, and never more than three slots of keys
// are in memory.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include <natt/spa/hint_listener.h>
#include <natt/spa/keys.h>
#include <natt/time.h>

#include "credential_table.h"
#include "slot_history.h"
#include "slot_table.h"

namespace natt::spa {

class HintIndex {
 public:
  static constexpr std::size_t kSlots = 3;
  // Keys prepared per piece: about 1 ms.
  static constexpr std::size_t kPiece = 1024;

  struct Hit {
    std::size_t table = 0;  // 0 to kSlots - 1
    CredentialIndex credential = kNoCredential;
  };
  struct Advance {
    std::array<bool, kSlots> replaced{};  // tables that belong to another slot now
    bool stepped = false;                 // the wall clock was set: not the next slot, but another
    bool backwards = false;               // ... set back past a slot that is gone
  };

  HintIndex(const CredentialTable& credentials, HintListener* listener)
      : credentials_(credentials), listener_(listener) {}
  HintIndex(const HintIndex&) = delete;
  HintIndex& operator=(const HintIndex&) = delete;

  // Makes the tables cover the slots around `wall_now`; those it replaced are empty and to be built.
  Advance advance(WallTime wall_now);
  // Prepares up to kPiece keys, of the current slot first.
  void build_piece(WallTime wall_now);
  [[nodiscard]] bool complete() const;

  // Makes a piece of room in the first table that lacks it; false when all had it.
  bool reserve_one(std::size_t credentials) {
    return std::any_of(tables_.begin(), tables_.end(),
                       [credentials](SlotTable& table) { return table.reserve_piece(credentials); });
  }

  // Slots that count as covered before. Before the first advance for slots near the wall clock.
  void note_lost(const SlotRange& range) { history_.add(range); }

  // The table entries of a credential that was just added, or is about to be removed.
  void add(CredentialIndex credential);
  void remove(CredentialIndex credential);

  // Looking up in three steps, so that many lookups can wait for memory at once: three independent cache misses, then
  // what is probably the record, then certainty.
  void prefetch(std::uint64_t hint) const;
  [[nodiscard]] Hit guess(std::uint64_t hint) const;
  [[nodiscard]] Hit confirm(std::uint64_t hint, const Hit& guess);
  [[nodiscard]] const SlotTable& table(std::size_t at) const { return tables_[at]; }
  // The oldest slot covered; the tables hold it and the kSlots - 1 after it. Only after the first advance().
  [[nodiscard]] Slot first() const { return *first_; }
  // Whether the slot was covered before and given up: nonces accepted in it then are forgotten.
  [[nodiscard]] bool revisited(std::size_t table) const { return revisited_[table]; }
  // The table of a slot, when it is covered.
  [[nodiscard]] std::optional<std::size_t> table_of(Slot slot) const;
  [[nodiscard]] bool locked() const;
  void take_moves(std::vector<PageMove>& moves) {
    for (SlotTable& table : tables_) table.take_moves(moves);
  }

 private:
  void insert(std::size_t table, CredentialIndex credential);
  void start(std::size_t table, Slot slot);
  std::size_t retire_unwanted(Slot slot);
  [[nodiscard]] std::optional<std::size_t> next_to_build(WallTime wall_now) const;

  const CredentialTable& credentials_;
  HintListener* listener_;
  std::array<SlotTable, kSlots> tables_;
  std::array<CredentialIndex, kSlots> built_{};  // credentials below are in the table
  // Of the last hint that was found. Asked first: nearly all frames are of the current slot.
  std::size_t likely_ = 0;
  std::array<bool, kSlots> revisited_{};
  SlotHistory history_;
  std::optional<Slot> first_;  // the oldest slot covered
};

}  // namespace natt::spa
