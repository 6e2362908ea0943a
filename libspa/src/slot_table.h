// SPDX-License-Identifier: Apache-2.0
#pragma once

// The hints of one slot: open addressing from hint to credential, and the keys that
// are needed per frame. Hints are the output of a keyed hash, so their low bits are
// the bucket: nobody who does not hold the pair key can choose them.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include <natt/spa/keys.h>

#include "credential_table.h"
#include "locked_array.h"
#include "zeroed_array.h"

namespace natt::spa {

// One cache line: what one frame needs to reach the AEAD.
struct SlotRecord {
  std::uint64_t hint = 0;
  std::array<std::uint8_t, 16> prefilter{};
  std::array<std::uint8_t, 32> aead{};
  DeviceIndex device = 0;
  std::uint16_t generation = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(SlotRecord) == 64);

class SlotTable {
 public:
  SlotTable() { rehash(make_buckets(kMinBuckets)); }

  // Forgets everything and belongs to `slot` from now on.
  void reset(Slot slot, std::size_t expected_credentials);
  [[nodiscard]] Slot slot() const { return slot_; }

  // Room for that many credentials without moving the buckets again.
  void reserve(std::size_t credentials) {
    const std::size_t wanted = buckets_for(credentials);
    if (wanted > buckets_.size()) rehash(make_buckets(wanted));
  }
  // The same a piece a call, 3 ms for the last one of 100,000 credentials. False when there was room.
  bool reserve_piece(std::size_t credentials);
  // Between two such calls.
  [[nodiscard]] bool is_growing() const { return next_.size() != 0; }
  void insert(CredentialIndex index, const Credential& credential, const SlotKeys& keys);
  // Wipes the record as well, also that of a former slot which was not overwritten yet.
  void erase(CredentialIndex index);

  void prefetch(std::uint64_t hint) const { __builtin_prefetch(&buckets_[hint & mask_]); }
  // The first credential whose hint agrees in what a bucket keeps of it: almost always the one, without reading its
  // record.
  [[nodiscard]] CredentialIndex guess(std::uint64_t hint) const;
  [[nodiscard]] CredentialIndex find(std::uint64_t hint) const;
  void prefetch_record(CredentialIndex credential) const { __builtin_prefetch(&records_[credential]); }
  [[nodiscard]] const SlotRecord& record(CredentialIndex credential) const { return records_[credential]; }
  [[nodiscard]] bool locked() const { return records_.locked(); }
  void take_moves(std::vector<PageMove>& moves) {
    records_.take_moves(moves);
    if (move_due_) moves.push_back(*move_due_);
    move_due_.reset();
  }

 private:
  // A bucket: credential + 1 in as many low bits as bucket numbers have, and the upper bits of the hint's upper half
  // above them; 0 is empty. 32 bits, because that is what a stranger's frame costs in cache misses: with 100,000
  // devices the three tables together are 3 MiB, and one hint in 10,000 is looked up in vain.
  using Bucket = std::uint32_t;
  static constexpr Bucket kEmpty = 0;
  static constexpr std::size_t kMinBuckets = 64;

  [[nodiscard]] static std::size_t buckets_for(std::size_t credentials) {
    return std::max(kMinBuckets, std::bit_ceil(2 * credentials));
  }
  [[nodiscard]] Bucket make_bucket(std::uint64_t hint, CredentialIndex credential) const {
    return (static_cast<Bucket>(hint >> 32) & ~low_mask()) | (credential + 1);
  }
  [[nodiscard]] CredentialIndex credential_of(Bucket bucket) const { return (bucket & low_mask()) - 1; }
  // No credential has this number: insert() keeps them below.
  [[nodiscard]] Bucket erased() const { return low_mask(); }
  [[nodiscard]] bool may_hold(Bucket bucket, std::uint64_t hint) const {
    return ((bucket ^ static_cast<Bucket>(hint >> 32)) & ~low_mask()) == 0 && (bucket & low_mask()) != erased();
  }
  [[nodiscard]] Bucket low_mask() const { return static_cast<Bucket>(mask_); }

  [[nodiscard]] static ZeroedArray<Bucket> make_buckets(std::size_t count) {
    return ZeroedArray<Bucket>(count, ZeroedArray<Bucket>::HugePages::kLater);
  }
  void rehash(ZeroedArray<Bucket> fresh);
  void place(std::uint64_t hint, CredentialIndex credential);

  Slot slot_;
  ZeroedArray<Bucket> buckets_;
  std::uint64_t mask_ = 0;
  std::size_t used_ = 0;  // erased ones included
  std::optional<PageMove> move_due_;
  // On the way to be the buckets: a host that has to find the memory first takes 10 us a page.
  ZeroedArray<Bucket> next_;
  std::size_t touched_ = 0;  // of them
  LockedArray<SlotRecord> records_;
};

// A hint as the number that the tables use.
[[nodiscard]] inline std::uint64_t hint_number(const std::array<std::uint8_t, 8>& hint) {
  return load_be<std::uint64_t>(hint.data());
}

}  // namespace natt::spa
