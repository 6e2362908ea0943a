// SPDX-License-Identifier: Apache-2.0
#pragma once

// Keeps a journal in memory that somebody else mapped. What it decides by is its own;
// the memory is only written. No allocation, no system call after format().

#include <natt/bytes.h>
#include <natt/spa/host_clock.h>

#include "journal_layout.h"

namespace natt::spa {

class JournalWriter {
 public:
  struct Start {
    std::array<std::uint8_t, 16> verifier{};
    JournalKey key{};
    JournalOrigin origin;
    std::size_t capacity = 0;  // records per slot, 1 to kJournalMaxCapacity
    SlotHistory lost;
    WallTime newest{};       // latest wall time of former runs
    Duration accept_from{};  // time since boot
  };

  // `memory` is zero, page-aligned, journal_size(capacity) octets, and outlives the writer. Afterwards it holds a
  // complete, empty journal.
  JournalWriter(MutableBytes memory, const Start& start, const HostTime& now);
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  // False when the slot's segment is full: nothing is ever overwritten that still counts. The caller's slots lie
  // within three in a row (HintIndex), so a segment that is taken over holds a slot that is not covered any more.
  [[nodiscard]] bool append(const ReplayRecord& record);
  void beat(const HostTime& now);
  // From a former run: the slot's records had been given up once before its first record here.
  void mark_revisited(Slot slot);

  [[nodiscard]] const SlotHistory& lost() const { return lost_; }
  [[nodiscard]] WallTime newest() const { return newest_; }
  [[nodiscard]] Duration accept_from() const { return accept_from_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] bool holds(Slot slot) const;

  // For another writer that takes over what this one has: JournalMove.
  struct Segment {
    std::uint64_t slot = kNoSlot;
    std::uint64_t seed = 0;
    bool revisited = false;
    std::uint64_t count = 0;
    std::uint64_t chain = 0;
  };
  [[nodiscard]] const Segment& segment(std::size_t at) const { return segments_[at]; }
  [[nodiscard]] const JournalKey& key() const { return key_; }
  // As it stands in memory, below segment(at).count.
  [[nodiscard]] std::span<const std::uint8_t, kJournalRecordSize> opening(std::size_t at, std::uint64_t index) const;
  // Holds the slots, none of their records yet, and the history of the other one.
  void take_plan(const JournalWriter& from);

 private:
  void take_over(std::size_t segment, std::uint64_t slot);
  // Writes the plan beside the one in force and then puts it in force.
  void publish();
  [[nodiscard]] JournalPage& page() { return *reinterpret_cast<JournalPage*>(memory_.data()); }

  MutableBytes memory_;
  JournalKey key_;
  std::size_t capacity_;
  std::array<Segment, kJournalSegments> segments_{};
  SlotHistory lost_;
  WallTime newest_;
  Duration accept_from_;
  std::uint64_t plan_sequence_ = 0;
  std::uint64_t beat_sequence_ = 0;
};

}  // namespace natt::spa
