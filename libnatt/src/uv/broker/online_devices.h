// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who has a signaling channel to this broker at the moment, and from where. Value type.

#include <map>
#include <optional>
#include <string>
#include <utility>

#include <natt/address.h>
#include <natt/identity.h>

namespace natt::uv {

class OnlineDevices {
 public:
  void set(const Identity& device, const SocketAddress& remote) {
    if (remotes_.insert_or_assign(device, remote).second) ++counts_[{device.site, device.role}];
  }
  void erase(const Identity& device) {
    if (remotes_.erase(device) == 0) return;
    const auto count = counts_.find({device.site, device.role});
    if (--count->second == 0) counts_.erase(count);
  }

  // Absent: no channel.
  [[nodiscard]] std::optional<SocketAddress> find(const Identity& device) const {
    const auto found = remotes_.find(device);
    return found == remotes_.end() ? std::nullopt : std::optional(found->second);
  }
  // Asked for by status pages and metrics, of any number of devices.
  [[nodiscard]] std::size_t count(const std::string& site, Role role) const {
    const auto found = counts_.find({site, role});
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::map<Identity, SocketAddress> remotes_;
  std::map<std::pair<std::string, Role>, std::size_t> counts_;
};

}  // namespace natt::uv
