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

// What a frame touches stands first: three cache lines.
struct alignas(64) Device {
  static constexpr std::size_t kMaxCredentials = Verifier::kMaxDeviceKeys * Verifier::kMaxOwnKeys;
  static constexpr std::size_t kHotOctets = 192;

  // Nonces remembered, by table of the hint index.
  struct NonceCount {
    std::uint32_t slot = 0;  // its number modulo 2^32
    std::uint32_t count = 0;
  };

  KnockMeter knocks;
  WallTime newest_accepted{};     // the largest timestamp so far
  WallTime floor{};               // timestamps have to be later in slots that come again
  std::uint32_t clock_epoch = 0;  // settings of the clock that `floor` accounts for
  std::uint8_t credential_count = 0;
  Role role = Role::kClient;
  // Which of the verifier's newest own keys, counted over its renewals, it was the last to use; 0 none.
  std::uint16_t newest_own_used = 0;
  std::array<NonceCount, HintIndex::kSlots> nonces{};
  DeviceId id;

  // From here on only configuration and grants look.
  Identity identity;
  std::array<CredentialIndex, kMaxCredentials> credentials{};
};

class DeviceTable {
 public:
  DeviceIndex add(const Identity& identity, const DeviceId& id);
  void remove(DeviceIndex index);
  void reserve(std::size_t count) {
    forgeries_.reserve(count);
    by_id_.reserve(count);
  }

  [[nodiscard]] std::optional<DeviceIndex> find(const DeviceId& id) const;
  [[nodiscard]] Device& at(DeviceIndex index) { return blocks_[index / kPerBlock][index % kPerBlock]; }
  [[nodiscard]] const Device& at(DeviceIndex index) const { return blocks_[index / kPerBlock][index % kPerBlock]; }
  // Apart from the device: it is needed before the AEAD, and a table of 8 octets a device stays in the cache while
  // the device itself is on its way.
  [[nodiscard]] ForgeryMeter& forgeries(DeviceIndex index) { return forgeries_[index]; }
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  // Starts fetching the device. Loads and not prefetch instructions, which are dropped where the address misses the
  // TLB: with 100,000 devices most do (spa_bench: 0.35 us a frame).
  void touch(DeviceIndex index) const {
    const auto* begin = reinterpret_cast<const volatile std::uint8_t*>(&at(index));
    for (std::size_t at = 0; at < Device::kHotOctets; at += 64) (void)begin[at];
  }

 private:
  struct IdHash {
    // Already a hash.
    std::size_t operator()(const DeviceId& id) const {
      std::size_t value = 0;
      std::memcpy(&value, id.bytes.data(), sizeof value);
      return value;
    }
  };

  static constexpr std::size_t kPerBlock = 256;

  std::vector<std::unique_ptr<Device[]>> blocks_;
  DeviceIndex extent_ = 0;
  std::vector<ForgeryMeter> forgeries_;
  std::vector<DeviceIndex> free_;
  std::unordered_map<DeviceId, DeviceIndex, IdHash> by_id_;
};

}  // namespace natt::spa
