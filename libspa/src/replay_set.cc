// SPDX-License-Identifier: Apache-2.0
#include "replay_set.h"

#include <bit>
#include <utility>

namespace natt::spa {
namespace {

// 0 marks an empty bucket; a fingerprint of 0 becomes 1.
std::uint64_t occupied(std::uint64_t fingerprint) { return fingerprint == 0 ? 1 : fingerprint; }

}  // namespace

void ReplaySet::reserve(std::size_t count) {
  const std::size_t wanted = std::bit_ceil(count / 3 * 4 + 4);
  if (wanted <= buckets_.size()) return;
  const ZeroedArray<std::uint64_t> old = std::exchange(buckets_, ZeroedArray<std::uint64_t>(wanted));
  mask_ = wanted - 1;
  // Also keeps the pages of an empty set untouched.
  if (size_ == 0) return;
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (old[i] != 0) place(old[i]);
  }
}

void ReplaySet::clear() {
  if (size_ == 0) return;
  buckets_.clear();
  size_ = 0;
}

bool ReplaySet::contains(std::uint64_t fingerprint) const {
  const std::uint64_t wanted = occupied(fingerprint);
  for (std::size_t at = first_of(wanted); buckets_[at] != 0; at = next_of(at)) {
    if (buckets_[at] == wanted) return true;
  }
  return false;
}

bool ReplaySet::insert(std::uint64_t fingerprint) {
  if (size_ >= limit()) return false;
  place(occupied(fingerprint));
  ++size_;
  return true;
}

void ReplaySet::place(std::uint64_t fingerprint) {
  std::size_t at = first_of(fingerprint);
  while (buckets_[at] != 0) at = next_of(at);
  buckets_[at] = fingerprint;
}

}  // namespace natt::spa
