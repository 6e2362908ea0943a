// SPDX-License-Identifier: Apache-2.0
#include "device_table.h"

namespace natt::spa {

DeviceIndex DeviceTable::add(const Identity& identity, const DeviceId& id) {
  DeviceIndex index = extent_;
  if (free_.empty()) {
    if (extent_ % kPerBlock == 0) blocks_.push_back(std::make_unique<Device[]>(kPerBlock));
    ++extent_;
    forgeries_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  at(index).identity = identity;
  at(index).id = id;
  at(index).role = identity.role;
  by_id_.emplace(id, index);
  return index;
}

void DeviceTable::remove(DeviceIndex index) {
  by_id_.erase(at(index).id);
  at(index) = Device{};
  forgeries_[index] = ForgeryMeter{};
  free_.push_back(index);
}

std::optional<DeviceIndex> DeviceTable::find(const DeviceId& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return found->second;
}

}  // namespace natt::spa
