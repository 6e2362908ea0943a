// SPDX-License-Identifier: Apache-2.0
#pragma once

// The devices of a verifier and what it remembers about each. Records do not move, so
// a grant can point at the identity.

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <natt/identity.h>
#include <natt/spa/page_move.h>
#include <natt/spa/verifier.h>

#include "credential_table.h"
#include "hint_index.h"
#include "knock_budget.h"
#include "page_memory.h"

namespace natt::spa {

// The credentials of one device, an array that nearly always has one element: that stands in place, and the array moves
// to the heap when a second is written, while either end renews its key. The device counts how many it uses.
class CredentialList {
 public:
  static constexpr std::size_t kMost = Verifier::kMaxDeviceKeys * Verifier::kMaxOwnKeys;

  CredentialList() = default;
  CredentialList(CredentialList&& other) noexcept : words_(std::exchange(other.words_, kNothing)) {}
  CredentialList& operator=(CredentialList&& other) noexcept {
    std::swap(words_, other.words_);
    return *this;
  }
  CredentialList(const CredentialList&) = delete;
  CredentialList& operator=(const CredentialList&) = delete;
  ~CredentialList() { delete many(); }

  // Up to kMost. Not for the packet path: may move the array.
  [[nodiscard]] CredentialIndex& operator[](std::size_t at) {
    if (at >= size()) move_to_heap();
    return data()[at];
  }
  [[nodiscard]] const CredentialIndex& operator[](std::size_t at) const { return data()[at]; }
  [[nodiscard]] CredentialIndex* data() { return in_place() ? &words_[1] : many()->data(); }
  [[nodiscard]] const CredentialIndex* data() const { return in_place() ? &words_[1] : many()->data(); }
  // Of the array, not of what the device uses.
  [[nodiscard]] std::size_t size() const { return in_place() ? 1 : kMost; }
  [[nodiscard]] CredentialIndex* begin() { return data(); }
  [[nodiscard]] CredentialIndex* end() { return data() + size(); }
  [[nodiscard]] const CredentialIndex* begin() const { return data(); }
  [[nodiscard]] const CredentialIndex* end() const { return data() + size(); }

 private:
  using Many = std::array<CredentialIndex, kMost>;
  using Words = std::array<CredentialIndex, 2>;
  // Either this mark and the credential, or both halves of the address of a Many, which is even.
  static constexpr CredentialIndex kInPlace = 1;
  static constexpr Words kNothing{kInPlace, 0};

  [[nodiscard]] bool in_place() const { return (words_[0] & kInPlace) != 0; }
  [[nodiscard]] Many* many() const;
  void move_to_heap();

  alignas(8) Words words_ = kNothing;
};

// What a frame touches stands first, in two of the three cache lines.
struct alignas(64) Device {
  static constexpr std::size_t kHotOctets = 128;

  KnockMeter knocks;
  WallTime newest_accepted{};     // the largest timestamp so far
  WallTime floor{};               // timestamps have to be later in slots that come again
  std::uint32_t clock_epoch = 0;  // settings of the clock that `floor` accounts for
  std::uint8_t credential_count = 0;
  Role role = Role::kClient;
  // Which of the verifier's newest own keys, counted over its renewals, it was the last to use; 0 none.
  std::uint16_t newest_own_used = 0;
  NonceMeter nonces;
  DeviceId id;  // zero in a record that is free
  ForgeryMeter forgeries;
  CredentialList credentials;

  // From here on only configuration and grants look.
  Identity identity;
};
static_assert(NonceMeter::kSlots == HintIndex::kSlots);
// bench/README.md accounts for it: a million of these.
static_assert(sizeof(Identity) > 72 || sizeof(Device) <= 192);

class DeviceTable {
 public:
  DeviceTable() = default;
  DeviceTable(const DeviceTable&) = delete;
  DeviceTable& operator=(const DeviceTable&) = delete;
  ~DeviceTable();

  DeviceIndex add(const Identity& identity, const DeviceId& id);
  void remove(DeviceIndex index);
  // Room in the index for that many devices without moving it again.
  void reserve(std::size_t count);

  [[nodiscard]] std::optional<DeviceIndex> find(const DeviceId& id) const;
  [[nodiscard]] Device& at(DeviceIndex index) { return blocks_[index / kPerBlock].devices()[index % kPerBlock]; }
  [[nodiscard]] const Device& at(DeviceIndex index) const {
    return blocks_[index / kPerBlock].devices()[index % kPerBlock];
  }
  [[nodiscard]] std::size_t size() const { return extent_ - free_.size(); }
  // Appends what is to be run elsewhere, once.
  void take_moves(std::vector<PageMove>& moves) {
    moves.insert(moves.end(), moves_.begin(), moves_.end());
    moves_.clear();
  }
  // Starts fetching the device. Loads and not prefetch instructions, which are dropped where the address misses the
  // TLB.
  void touch(DeviceIndex index) const {
    const auto* begin = reinterpret_cast<const volatile std::uint8_t*>(&at(index));
    for (std::size_t at = 0; at < Device::kHotOctets; at += 64) (void)begin[at];
  }

 private:
  static constexpr DeviceIndex kNone = 0xffff'ffff;
  static constexpr std::size_t kPerBlock = PageMemory::kHugePage / sizeof(Device);
  struct Block {
    PageMemory memory{PageMemory::kHugePage, PageMemory::Access::kReadWrite};
    [[nodiscard]] Device* devices() const { return reinterpret_cast<Device*>(memory.data()); }
  };

  [[nodiscard]] DeviceIndex extend();
  [[nodiscard]] std::size_t bucket_of(const DeviceId& id) const;
  void place(DeviceIndex index) { by_id_[bucket_of(at(index).id)] = index; }
  void unplace(const DeviceId& id);

  std::vector<Block> blocks_;
  std::vector<PageMove> moves_;
  DeviceIndex extent_ = 0;
  std::vector<DeviceIndex> free_;
  // Open addressing by id, which is a hash already; kNone is empty. A power of two, at most 7/8 full.
  std::vector<DeviceIndex> by_id_;
};

}  // namespace natt::spa
