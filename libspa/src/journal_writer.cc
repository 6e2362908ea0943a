// SPDX-License-Identifier: Apache-2.0
#include "journal_writer.h"

#include <algorithm>
#include <atomic>

namespace natt::spa {
namespace {

std::int64_t milliseconds_of(WallTime time) { return time.time_since_epoch().count(); }

// Everything written before it is there when it is.
void commit(std::uint64_t& word, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(word).store(value, std::memory_order_release);
}

}  // namespace

JournalWriter::JournalWriter(MutableBytes memory, const Start& start, const HostTime& now)
    : memory_(memory), key_(start.key), capacity_(start.capacity), lost_(start.lost), newest_(start.newest),
      accept_from_(start.accept_from) {
  FileHeader& header = page().header;
  header.magic = kJournalMagic;
  header.version = kJournalVersion;
  header.capacity = static_cast<std::uint32_t>(start.capacity);
  header.verifier = start.verifier;
  header.key = start.key;
  header.origin = start.origin;
  header.created_ms = milliseconds_of(now.wall);
  header.accept_from_boot_ns = start.accept_from.count();
  header.mac = mac_of(key_, header, kHeaderDomain);
  beat(now);
  publish();
}

bool JournalWriter::append(const ReplayRecord& record) {
  const std::size_t at = segment_of(record.slot.number);
  if (segments_[at].slot != record.slot.number) take_over(at, record.slot.number);
  Segment& segment = segments_[at];
  if (segment.count >= capacity_) return false;
  std::uint8_t* place = memory_.data() + segment_offset(at, capacity_) + segment.count * kJournalRecordSize;
  std::memcpy(place, record.opening.data(), kJournalRecordSize);
  segment.chain = next_chain(key_, segment.chain, segment.count, record.opening);
  ++segment.count;
  commit(page().commits[plan_sequence_ % 2][at], make_word(segment.count, segment.chain));
  return true;
}

// The new plan counts before the first record of the new slot overwrites one of the old.
void JournalWriter::take_over(std::size_t segment, std::uint64_t slot) {
  Segment& taken = segments_[segment];
  if (taken.count != 0) lost_.add(Slot{taken.slot});
  const std::uint64_t seed = seed_of(key_, slot, plan_sequence_ + 1);
  taken = {.slot = slot, .seed = seed, .revisited = lost_.contains(Slot{slot}), .count = 0, .chain = seed};
  publish();
}

void JournalWriter::mark_revisited(Slot slot) {
  const std::size_t at = segment_of(slot.number);
  if (segments_[at].slot != slot.number) take_over(at, slot.number);
  segments_[at].revisited = true;
  publish();
}

std::span<const std::uint8_t, kJournalRecordSize> JournalWriter::opening(std::size_t at, std::uint64_t index) const {
  const std::size_t offset = segment_offset(at, capacity_) + static_cast<std::size_t>(index) * kJournalRecordSize;
  return std::span<const std::uint8_t, kJournalRecordSize>(memory_.data() + offset, kJournalRecordSize);
}

void JournalWriter::take_plan(const JournalWriter& from) {
  lost_ = from.lost_;
  newest_ = std::max(newest_, from.newest_);
  for (std::size_t at = 0; at < kJournalSegments; ++at) {
    const Segment& theirs = from.segments_[at];
    Segment& own = segments_[at];
    own.revisited = theirs.revisited;
    if (own.slot == theirs.slot) continue;
    const std::uint64_t seed = seed_of(key_, theirs.slot, plan_sequence_ + 1);
    own = {.slot = theirs.slot, .seed = seed, .revisited = theirs.revisited, .count = 0, .chain = seed};
  }
  publish();
}

bool JournalWriter::holds(Slot slot) const {
  const Segment& segment = segments_[segment_of(slot.number)];
  return segment.slot == slot.number && segment.count != 0;
}

void JournalWriter::publish() {
  Plan plan{.sequence = ++plan_sequence_};
  const std::size_t half = plan_sequence_ % 2;
  for (std::size_t i = 0; i < kJournalSegments; ++i) {
    const Segment& segment = segments_[i];
    plan.segments[i] = {segment.slot, segment.seed, segment.revisited ? 1u : 0u};
    page().commits[half][i] = make_word(segment.count, segment.chain);
  }
  plan.lost_count = lost_.ranges().size();
  std::copy(lost_.ranges().begin(), lost_.ranges().end(), plan.lost.begin());
  plan.mac = mac_of(key_, plan, kPlanDomain);
  page().plans[half] = plan;
  commit(page().active, active_word(key_, plan_sequence_));
  // No later store, into a segment that was taken over, may come before it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void JournalWriter::beat(const HostTime& now) {
  newest_ = std::max(newest_, now.wall);
  Beat beat{.sequence = ++beat_sequence_,
            .wall_ms = milliseconds_of(now.wall),
            .boot_ns = now.boot.count(),
            .newest_ms = milliseconds_of(newest_)};
  beat.mac = mac_of(key_, beat, kBeatDomain);
  page().beats[beat_sequence_ % 2] = beat;
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace natt::spa
