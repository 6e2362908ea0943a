// SPDX-License-Identifier: Apache-2.0
#include "device_table.h"

namespace natt::spa {

DeviceIndex DeviceTable::add(const Identity& identity, const DeviceId& id) {
  DeviceIndex index = static_cast<DeviceIndex>(devices_.size());
  if (free_.empty()) {
    devices_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  devices_[index] = std::make_unique<Device>();
  devices_[index]->identity = identity;
  devices_[index]->id = id;
  by_id_.emplace(id, index);
  return index;
}

void DeviceTable::remove(DeviceIndex index) {
  by_id_.erase(devices_[index]->id);
  devices_[index].reset();
  free_.push_back(index);
}

std::optional<DeviceIndex> DeviceTable::find(const DeviceId& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return found->second;
}

}  // namespace natt::spa
