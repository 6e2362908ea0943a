// SPDX-License-Identifier: Apache-2.0
#include "credential_table.h"

namespace natt::spa {

CredentialIndex CredentialTable::add(const Credential& credential, const PairKey& pair) {
  CredentialIndex index = static_cast<CredentialIndex>(credentials_.size());
  if (free_.empty()) {
    credentials_.emplace_back();
    pairs_.grow_to(credentials_.size());
  } else {
    index = free_.back();
    free_.pop_back();
  }
  credentials_[index] = credential;
  credentials_[index].alive = true;
  std::copy_n(pair.bytes.data(), pairs_[index].size(), pairs_[index].begin());
  return index;
}

void CredentialTable::remove(CredentialIndex index) {
  credentials_[index] = Credential{};
  secure_zero(pairs_[index]);
  free_.push_back(index);
}

SlotKeys CredentialTable::slot_keys(CredentialIndex index, Slot slot) const {
  return SlotKeys::derive(PairKey{Secret<32>(std::span(pairs_[index]))}, slot);
}

Secret<32> CredentialTable::address_key(CredentialIndex index, Slot slot) const {
  return SlotKeys::derive_address(PairKey{Secret<32>(std::span(pairs_[index]))}, slot);
}

}  // namespace natt::spa
