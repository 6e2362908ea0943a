// SPDX-License-Identifier: Apache-2.0
#pragma once

// The pair keys a verifier knows: one credential per (device key, own key). Indices
// are dense and reused, so that tables of slots can be arrays over them.

#include <cstdint>
#include <vector>

#include <natt/spa/keys.h>

#include "locked_array.h"

namespace natt::spa {

using DeviceIndex = std::uint32_t;
using CredentialIndex = std::uint32_t;
// Names one own pair of the verifier for as long as any credential is of it.
using OwnKeyId = std::uint16_t;
inline constexpr CredentialIndex kNoCredential = 0xffff'ffff;

struct Credential {
  DeviceIndex device = 0;
  std::uint16_t generation = 0;
  OwnKeyId own_key = 0;
  bool alive = false;
  bool use_reported = false;
  PublicKey public_key;
};

class CredentialTable {
 public:
  CredentialIndex add(const Credential& credential, const PairKey& pair);
  // Wipes the pair key.
  void remove(CredentialIndex index);

  [[nodiscard]] Credential& at(CredentialIndex index) { return credentials_[index]; }
  [[nodiscard]] const Credential& at(CredentialIndex index) const { return credentials_[index]; }
  [[nodiscard]] SlotKeys slot_keys(CredentialIndex index, Slot slot) const;
  // Not kept with the others: 32 octets for each key and slot are more than the frames that are bound to an address.
  [[nodiscard]] Secret<32> address_key(CredentialIndex index, Slot slot) const;
  // False when there was room.
  bool reserve(std::size_t count) {
    const bool moves = count > credentials_.capacity();
    credentials_.reserve(count);
    return moves;
  }
  // One past the highest index ever given out.
  [[nodiscard]] std::size_t extent() const { return credentials_.size(); }
  [[nodiscard]] std::size_t size() const { return credentials_.size() - free_.size(); }
  [[nodiscard]] bool locked() const { return pairs_.locked(); }
  void take_moves(std::vector<PageMove>& moves) { pairs_.take_moves(moves); }

 private:
  using PairBytes = std::array<std::uint8_t, 32>;

  std::vector<Credential> credentials_;
  std::vector<CredentialIndex> free_;
  LockedArray<PairBytes> pairs_;
};

}  // namespace natt::spa
