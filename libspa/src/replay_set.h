// SPDX-License-Identifier: Apache-2.0
#pragma once

// The frames of one slot that were accepted, exactly: once in, never forgotten before
// the slot is over. Holds 64-bit fingerprints under a key that only this process
// knows, so two frames are taken for one with a chance of 2^-64 per pair, and nobody
// can look for such a pair. Bounded; full means refuse, never forget.

#include <cstdint>

#include "zeroed_array.h"

namespace natt::spa {

class ReplaySet {
 public:
  // Fingerprints held before it is full.
  [[nodiscard]] std::size_t limit() const { return buckets_.size() / 4 * 3; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Room for at least `count`; what is in stays in. Never shrinks.
  void reserve(std::size_t count);
  // Gives the memory back to the system: an idle site holds none.
  void clear();

  void prefetch(std::uint64_t fingerprint) const { __builtin_prefetch(&buckets_[first_of(fingerprint)]); }
  [[nodiscard]] bool contains(std::uint64_t fingerprint) const;
  // False when full. The fingerprint must not be in yet.
  [[nodiscard]] bool insert(std::uint64_t fingerprint);

 private:
  [[nodiscard]] std::size_t first_of(std::uint64_t fingerprint) const { return fingerprint & mask_; }
  [[nodiscard]] std::size_t next_of(std::size_t at) const { return (at + 1) & mask_; }
  void place(std::uint64_t fingerprint);

  ZeroedArray<std::uint64_t> buckets_;  // a power of two
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

}  // namespace natt::spa
