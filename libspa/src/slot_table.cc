// SPDX-License-Identifier: Apache-2.0
#include "slot_table.h"

namespace natt::spa {

void SlotTable::reset(Slot slot, std::size_t expected_credentials) {
  slot_ = slot;
  const std::size_t wanted = buckets_for(expected_credentials);
  if (wanted == buckets_.size()) {
    buckets_.zero();
  } else {
    buckets_ = make_buckets(wanted);
    next_ = {};
  }
  mask_ = wanted - 1;
  used_ = 0;
}

void SlotTable::insert(CredentialIndex index, const Credential& credential, const SlotKeys& keys) {
  reserve(std::max(used_, std::size_t{index}) + 1);
  records_.grow_to(std::size_t{index} + 1);
  SlotRecord& record = records_[index];
  record.hint = hint_number(keys.hint);
  std::copy_n(keys.prefilter.data(), record.prefilter.size(), record.prefilter.begin());
  std::copy_n(keys.aead.data(), record.aead.size(), record.aead.begin());
  record.device = credential.device;
  record.generation = credential.generation;
  place(record.hint, index);
}

void SlotTable::erase(CredentialIndex index) {
  if (index >= records_.extent()) return;
  SlotRecord& record = records_[index];
  if (2 * (std::size_t{index} + 1) <= buckets_.size()) {
    const Bucket wanted = make_bucket(record.hint, index);
    std::size_t at = record.hint & mask_;
    while (buckets_[at] != wanted && buckets_[at] != kEmpty) at = (at + 1) & mask_;
    if (buckets_[at] == wanted) buckets_[at] = erased();
  }
  secure_zero({reinterpret_cast<std::uint8_t*>(&record), sizeof record});
}

CredentialIndex SlotTable::guess(std::uint64_t hint) const {
  for (std::size_t at = hint & mask_; buckets_[at] != kEmpty; at = (at + 1) & mask_) {
    if (may_hold(buckets_[at], hint)) return credential_of(buckets_[at]);
  }
  return kNoCredential;
}

CredentialIndex SlotTable::find(std::uint64_t hint) const {
  for (std::size_t at = hint & mask_; buckets_[at] != kEmpty; at = (at + 1) & mask_) {
    if (!may_hold(buckets_[at], hint)) continue;
    const CredentialIndex credential = credential_of(buckets_[at]);
    if (records_[credential].hint == hint) return credential;
  }
  return kNoCredential;
}

bool SlotTable::reserve_piece(std::size_t credentials) {
  constexpr std::size_t kPerPage = 4096 / sizeof(Bucket);
  constexpr std::size_t kPiece = 64 * kPerPage;
  const std::size_t wanted = buckets_for(credentials);
  if (wanted <= buckets_.size()) return false;
  if (next_.size() != wanted) {
    next_ = make_buckets(wanted);
    touched_ = 0;
  }
  const std::size_t end = std::min(wanted, touched_ + kPiece);
  // A write, or a page that all tables share is what it gets.
  for (; touched_ < end; touched_ += kPerPage) *const_cast<volatile Bucket*>(&next_[touched_]) = kEmpty;
  if (touched_ >= wanted) rehash(std::exchange(next_, {}));
  return true;
}

void SlotTable::rehash(ZeroedArray<Bucket> fresh) {
  const std::size_t buckets = fresh.size();
  next_ = {};
  const ZeroedArray<Bucket> old = std::exchange(buckets_, std::move(fresh));
  const Bucket old_mask = low_mask();
  mask_ = buckets - 1;
  used_ = 0;
  // In the order of the records and not of the buckets: a random walk over 6 MB of records takes three times as long.
  std::vector<bool> held(records_.extent());
  for (std::size_t i = 0; i < old.size(); ++i) {
    const Bucket low = old[i] & old_mask;
    if (low != kEmpty && low != old_mask) held[low - 1] = true;
  }
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (held[i]) place(records_[i].hint, static_cast<CredentialIndex>(i));
  }
}

void SlotTable::place(std::uint64_t hint, CredentialIndex credential) {
  std::size_t at = hint & mask_;
  while (buckets_[at] != kEmpty) at = (at + 1) & mask_;
  buckets_[at] = make_bucket(hint, credential);
  // An eighth of them, anywhere: every page was touched.
  if (++used_ == buckets_.size() / 8) move_due_ = buckets_.page_move();
}

}  // namespace natt::spa
