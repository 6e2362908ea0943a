// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who has a signaling channel to this broker at the moment, and from where. Value type.

#include <algorithm>
#include <map>
#include <optional>

#include <natt/address.h>
#include <natt/identity.h>

namespace natt::uv {

class OnlineDevices {
 public:
  void set(const Identity& device, const SocketAddress& remote) { remotes_[device] = remote; }
  void erase(const Identity& device) { remotes_.erase(device); }

  // Absent: no channel.
  [[nodiscard]] std::optional<SocketAddress> find(const Identity& device) const {
    const auto found = remotes_.find(device);
    return found == remotes_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] std::size_t count(const std::string& site, Role role) const {
    return static_cast<std::size_t>(std::count_if(remotes_.begin(), remotes_.end(), [&](const auto& device) {
      return device.first.role == role && device.first.site == site;
    }));
  }

 private:
  std::map<Identity, SocketAddress> remotes_;
};

}  // namespace natt::uv
