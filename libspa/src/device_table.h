// SPDX-License-Identifier: Apache-2.0
#pragma once

// The devices of a verifier and what it remembers about each. Records do not move, so
// a grant can point at the identity.

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include <natt/identity.h>
#include <natt/spa/verifier.h>

#include "credential_table.h"
#include "hint_index.h"
#include "knock_budget.h"

namespace natt::spa {

struct Device {
  static constexpr std::size_t kMaxCredentials = Verifier::kMaxDeviceKeys * Verifier::kMaxOwnKeys;

  // Nonces remembered, by table of the hint index.
  struct NonceCount {
    Slot slot;
    std::uint32_t count = 0;
  };

  DeviceId id;
  KnockMeter knocks;
  ForgeryMeter forgeries;
  WallTime newest_accepted{};     // the largest timestamp so far
  WallTime floor{};               // timestamps have to be later in slots that come again
  std::uint32_t clock_epoch = 0;  // settings of the clock that `floor` accounts for
  std::array<NonceCount, HintIndex::kSlots> nonces{};

  Identity identity;
  std::array<CredentialIndex, kMaxCredentials> credentials{};
  std::size_t credential_count = 0;
};

class DeviceTable {
 public:
  DeviceIndex add(const Identity& identity, const DeviceId& id);
  void remove(DeviceIndex index);

  [[nodiscard]] std::optional<DeviceIndex> find(const DeviceId& id) const;
  [[nodiscard]] Device& at(DeviceIndex index) { return *devices_[index]; }
  [[nodiscard]] const Device& at(DeviceIndex index) const { return *devices_[index]; }
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }

 private:
  struct IdHash {
    // Already a hash.
    std::size_t operator()(const DeviceId& id) const {
      std::size_t value = 0;
      std::memcpy(&value, id.bytes.data(), sizeof value);
      return value;
    }
  };

  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<DeviceIndex> free_;
  std::unordered_map<DeviceId, DeviceIndex, IdHash> by_id_;
};

}  // namespace natt::spa
