// SPDX-License-Identifier: Apache-2.0
#include "slot_table.h"

namespace natt::spa {
namespace {

std::uint64_t make_bucket(std::uint64_t hint, CredentialIndex credential) {
  return (hint & 0xffff'ffff'0000'0000) | (std::uint64_t{credential} + 1);
}

CredentialIndex credential_of(std::uint64_t bucket) { return static_cast<CredentialIndex>((bucket & 0xffff'ffff) - 1); }

bool same_upper_half(std::uint64_t bucket, std::uint64_t hint) { return ((bucket ^ hint) >> 32) == 0; }

}  // namespace

void SlotTable::reset(Slot slot, std::size_t expected_credentials) {
  slot_ = slot;
  const std::size_t wanted = std::max(kMinBuckets, std::bit_ceil(2 * expected_credentials));
  buckets_.assign(wanted, kEmpty);
  mask_ = wanted - 1;
  used_ = 0;
}

void SlotTable::insert(CredentialIndex index, const Credential& credential, const SlotKeys& keys) {
  if (2 * (used_ + 1) > buckets_.size()) rehash(2 * buckets_.size());
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
  const std::uint64_t wanted = make_bucket(record.hint, index);
  std::size_t at = record.hint & mask_;
  while (buckets_[at] != wanted && buckets_[at] != kEmpty) at = (at + 1) & mask_;
  if (buckets_[at] == wanted) buckets_[at] = kErased;
  secure_zero({reinterpret_cast<std::uint8_t*>(&record), sizeof record});
}

CredentialIndex SlotTable::guess(std::uint64_t hint) const {
  for (std::size_t at = hint & mask_; buckets_[at] != kEmpty; at = (at + 1) & mask_) {
    if (same_upper_half(buckets_[at], hint) && buckets_[at] != kErased) return credential_of(buckets_[at]);
  }
  return kNoCredential;
}

CredentialIndex SlotTable::find(std::uint64_t hint) const {
  for (std::size_t at = hint & mask_; buckets_[at] != kEmpty; at = (at + 1) & mask_) {
    if (!same_upper_half(buckets_[at], hint) || buckets_[at] == kErased) continue;
    const CredentialIndex credential = credential_of(buckets_[at]);
    if (records_[credential].hint == hint) return credential;
  }
  return kNoCredential;
}

void SlotTable::rehash(std::size_t buckets) {
  std::vector<Bucket> old(buckets, kEmpty);
  old.swap(buckets_);
  mask_ = buckets - 1;
  used_ = 0;
  for (const Bucket bucket : old) {
    if (bucket == kEmpty || bucket == kErased) continue;
    place(records_[credential_of(bucket)].hint, credential_of(bucket));
  }
}

void SlotTable::place(std::uint64_t hint, CredentialIndex credential) {
  std::size_t at = hint & mask_;
  while (buckets_[at] != kEmpty) at = (at + 1) & mask_;
  buckets_[at] = make_bucket(hint, credential);
  ++used_;
}

}  // namespace natt::spa
