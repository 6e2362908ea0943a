// SPDX-License-Identifier: Apache-2.0
#include "device_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

namespace natt::spa {
namespace {

std::size_t hash_of(const DeviceId& id) {
  std::size_t value = 0;
  std::memcpy(&value, id.bytes.data(), sizeof value);
  return value;
}

}  // namespace

CredentialList::Many* CredentialList::many() const {
  if (in_place()) return nullptr;
  return reinterpret_cast<Many*>(static_cast<std::uintptr_t>(std::uint64_t{words_[1]} << 32 | words_[0]));
}

void CredentialList::move_to_heap() {
  static_assert(alignof(Many) % 2 == 0 && sizeof(std::uintptr_t) <= sizeof(std::uint64_t));
  const auto address = std::uint64_t{reinterpret_cast<std::uintptr_t>(new Many{words_[1]})};
  words_ = {static_cast<CredentialIndex>(address & 0xffff'ffff), static_cast<CredentialIndex>(address >> 32)};
}

DeviceTable::~DeviceTable() {
  for (DeviceIndex i = 0; i < extent_; ++i) std::destroy_at(&at(i));
}

DeviceIndex DeviceTable::add(const Identity& identity, const DeviceId& id) {
  reserve(size() + 1);
  const DeviceIndex index = extend();
  Device& device = at(index);
  device.identity = identity;
  device.id = id;
  device.role = identity.role;
  place(index);
  return index;
}

// A record to write to: one that was freed, or a new one.
DeviceIndex DeviceTable::extend() {
  if (!free_.empty()) {
    const DeviceIndex index = free_.back();
    free_.pop_back();
    return index;
  }
  const DeviceIndex index = extent_++;
  if (index % kPerBlock == 0) {
    if (!blocks_.empty()) moves_.emplace_back(blocks_.back().memory.data(), PageMemory::kHugePage);
    blocks_.emplace_back();
  }
  std::construct_at(&at(index));
  return index;
}

void DeviceTable::remove(DeviceIndex index) {
  unplace(at(index).id);
  at(index) = Device{};
  free_.push_back(index);
}

void DeviceTable::reserve(std::size_t count) {
  constexpr std::size_t kLeast = 16;
  if (by_id_.size() / 8 * 7 >= count) return;
  by_id_.assign(std::bit_ceil(std::max(kLeast, count * 8 / 7 + 1)), kNone);
  // In the order of memory and not of the index: a million records are read in a row.
  for (DeviceIndex i = 0; i < extent_; ++i) {
    if (at(i).id != DeviceId{}) place(i);
  }
}

std::optional<DeviceIndex> DeviceTable::find(const DeviceId& id) const {
  if (by_id_.empty()) return std::nullopt;
  const DeviceIndex found = by_id_[bucket_of(id)];
  if (found == kNone) return std::nullopt;
  return found;
}

// Where the id is, or would be placed.
std::size_t DeviceTable::bucket_of(const DeviceId& id) const {
  const std::size_t mask = by_id_.size() - 1;
  std::size_t at = hash_of(id) & mask;
  while (by_id_[at] != kNone && this->at(by_id_[at]).id != id) at = (at + 1) & mask;
  return at;
}

void DeviceTable::unplace(const DeviceId& id) {
  const std::size_t mask = by_id_.size() - 1;
  std::size_t at = bucket_of(id);
  by_id_[at] = kNone;
  // Those behind it may stand where they do because of it.
  for (at = (at + 1) & mask; by_id_[at] != kNone; at = (at + 1) & mask) place(std::exchange(by_id_[at], kNone));
}

}  // namespace natt::spa
