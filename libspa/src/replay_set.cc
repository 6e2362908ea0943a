// SPDX-License-Identifier: Apache-2.0
#include "replay_set.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace natt::spa {
namespace {

// 0 marks an empty bucket; a fingerprint of 0 becomes 1.
std::uint64_t occupied(std::uint64_t fingerprint) { return fingerprint == 0 ? 1 : fingerprint; }

}  // namespace

// calloc and not a vector: a large zeroed block costs no page until it is touched.
ReplaySet::Buckets ReplaySet::allocate(std::size_t capacity) {
  Buckets buckets(static_cast<std::uint64_t*>(std::calloc(capacity, sizeof(std::uint64_t))));
  if (buckets == nullptr) std::abort();
  return buckets;
}

void ReplaySet::reserve(std::size_t count) {
  const std::size_t wanted = std::bit_ceil(count / 3 * 4 + 4);
  if (wanted <= capacity_) return;
  const Buckets old = std::exchange(buckets_, allocate(wanted));
  const std::size_t old_capacity = std::exchange(capacity_, wanted);
  for (std::size_t i = 0; i < old_capacity; ++i) {
    if (old[i] != 0) place(old[i]);
  }
}

void ReplaySet::clear() {
  if (size_ == 0) return;
  buckets_ = allocate(capacity_);
  size_ = 0;
}

bool ReplaySet::contains(std::uint64_t fingerprint) const {
  const std::uint64_t wanted = occupied(fingerprint);
  for (std::size_t at = wanted & (capacity_ - 1); buckets_[at] != 0; at = (at + 1) & (capacity_ - 1)) {
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
  std::size_t at = fingerprint & (capacity_ - 1);
  while (buckets_[at] != 0) at = (at + 1) & (capacity_ - 1);
  buckets_[at] = fingerprint;
}

}  // namespace natt::spa
