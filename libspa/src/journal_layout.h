// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a replay journal looks like in memory and on disk: one page that says what
// counts, then three segments of records, slot t in segment t mod 3. In this host's byte
// order, for this boot of this host: no other ever reads it.
//
//   page 0    FileHeader | two Beats | two Plans, each with its commit words | active
//   page 1..  3 x capacity x 20 octets: frame[0..19] of what was accepted, in order
//
// A process that is killed leaves the stores it made, in order. So everything that
// changes is written beside what counts, and then made to count by one store of eight
// octets. Everything that counts is under a SipHash with a key of this file: a flipped
// bit, a lost page or a page of another file is seen. The tag of a segment's commit word
// is the end of a chain over its records.

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include <natt/siphash.h>
#include <natt/spa/replay_journal.h>

#include "slot_history.h"

namespace natt::spa {

inline constexpr std::size_t kJournalPage = 4096;
inline constexpr std::size_t kJournalSegments = 3;
inline constexpr std::size_t kJournalRecordSize = 20;
// The commit word has 24 bits for the count.
inline constexpr std::size_t kJournalMaxCapacity = (std::size_t{1} << 24) - 1;
inline constexpr std::array<char, 8> kJournalMagic{'n', 'a', 't', 't', 's', 'e', 'e', 'n'};
inline constexpr std::uint32_t kJournalVersion = 1;
// A segment that holds no slot.
inline constexpr std::uint64_t kNoSlot = ~std::uint64_t{0};

using JournalKey = std::array<std::uint8_t, kSipHashKeySize>;

// Which file this is, on which boot: a copy of it is another file.
struct JournalOrigin {
  std::array<std::uint8_t, 16> boot_id{};  // /proc/sys/kernel/random/boot_id; zero when it could not be read
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t birth_ns = 0;  // 0 where the file system does not say

  friend bool operator==(const JournalOrigin&, const JournalOrigin&) = default;
};

// Written once.
struct FileHeader {
  std::array<char, 8> magic{};
  std::uint32_t version = 0;
  std::uint32_t capacity = 0;  // records per segment
  std::array<std::uint8_t, 16> verifier{};
  JournalKey key{};
  JournalOrigin origin;
  std::int64_t created_ms = 0;
  // Frames made before are refused, also by the next run: time since boot; 0 when none are.
  std::int64_t accept_from_boot_ns = 0;
  std::uint64_t mac = 0;
};

// When the verifier was alive: two, written in turn; the newer of those that are whole counts.
struct Beat {
  std::uint64_t sequence = 0;
  std::int64_t wall_ms = 0;
  std::int64_t boot_ns = 0;
  std::int64_t newest_ms = 0;  // the latest wall_ms ever, former runs included
  std::uint64_t mac = 0;
};

struct SegmentPlan {
  std::uint64_t slot = kNoSlot;
  std::uint64_t seed = 0;       // where the chain over its records starts
  std::uint64_t revisited = 0;  // 1: records of this slot were given up before
};

// Which slot is in which segment, and which slots had records that are gone. Two, the one in force by the parity of
// the sequence number in the word `active`.
struct Plan {
  std::uint64_t sequence = 0;
  std::array<SegmentPlan, kJournalSegments> segments{};
  std::uint64_t lost_count = 0;
  std::array<SlotRange, SlotHistory::kMaxRanges> lost{};
  std::uint64_t mac = 0;
};

// Atomic words: count or sequence in the upper 24 bits, a tag in the lower 40.
struct JournalPage {
  FileHeader header;
  std::array<Beat, 2> beats{};
  std::array<Plan, 2> plans{};
  std::array<std::array<std::uint64_t, kJournalSegments>, 2> commits{};  // of the plan of the same index
  std::uint64_t active = 0;
};
static_assert(sizeof(JournalPage) <= kJournalPage && std::is_trivially_copyable_v<JournalPage>);
// No padding: what is hashed is what is written.
static_assert(sizeof(FileHeader) == 112 && sizeof(Beat) == 40 && sizeof(Plan) == 352);

inline constexpr int kTagBits = 40;
inline constexpr std::uint64_t kTagMask = (std::uint64_t{1} << kTagBits) - 1;

[[nodiscard]] inline std::uint64_t make_word(std::uint64_t number, std::uint64_t tag) {
  return number << kTagBits | (tag & kTagMask);
}
[[nodiscard]] inline std::uint64_t number_of(std::uint64_t word) { return word >> kTagBits; }

template <typename T>
[[nodiscard]] std::span<const std::uint8_t> octets_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

// Of a part whose last member is its mac; `domain` keeps parts apart.
template <typename Part>
[[nodiscard]] std::uint64_t mac_of(const JournalKey& key, const Part& part, std::uint64_t domain) {
  std::array<std::uint8_t, sizeof(Part)> message{};
  std::memcpy(message.data(), &part, sizeof part);
  std::memcpy(message.data() + offsetof(Part, mac), &domain, sizeof domain);
  return siphash24(key, message);
}
inline constexpr std::uint64_t kHeaderDomain = 1;
inline constexpr std::uint64_t kBeatDomain = 2;
inline constexpr std::uint64_t kPlanDomain = 3;

// For the word `active`.
[[nodiscard]] inline std::uint64_t active_word(const JournalKey& key, std::uint64_t sequence) {
  const std::array<std::uint64_t, 2> message{4, sequence};
  return make_word(sequence & (kJournalMaxCapacity), siphash24(key, octets_of(message)));
}

[[nodiscard]] inline std::uint64_t seed_of(const JournalKey& key, std::uint64_t slot, std::uint64_t sequence) {
  const std::array<std::uint64_t, 3> message{5, slot, sequence};
  return siphash24(key, octets_of(message));
}

// The chain after one more record.
[[nodiscard]] inline std::uint64_t next_chain(const JournalKey& key, std::uint64_t chain, std::uint64_t index,
                                              std::span<const std::uint8_t, kJournalRecordSize> opening) {
  std::array<std::uint8_t, 16 + kJournalRecordSize> message{};
  std::memcpy(message.data(), &chain, 8);
  std::memcpy(message.data() + 8, &index, 8);
  std::memcpy(message.data() + 16, opening.data(), opening.size());
  return siphash24(key, message);
}

[[nodiscard]] inline std::size_t segment_of(std::uint64_t slot) {
  return static_cast<std::size_t>(slot % kJournalSegments);
}
[[nodiscard]] inline std::size_t segment_offset(std::size_t segment, std::size_t capacity) {
  return kJournalPage + segment * capacity * kJournalRecordSize;
}
// Whole pages.
[[nodiscard]] inline std::size_t journal_size(std::size_t capacity) {
  return (segment_offset(kJournalSegments, capacity) + kJournalPage - 1) / kJournalPage * kJournalPage;
}

}  // namespace natt::spa
