// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who has a signaling channel to this broker at the moment, from where, and what it can do. Value type.

#include <map>
#include <optional>
#include <string>
#include <utility>

#include <natt/address.h>
#include <natt/identity.h>
#include <natt/signal_message.h>

namespace natt::uv {

class OnlineDevices {
 public:
  // `features` are those of its hello.
  void set(const Identity& device, const SocketAddress& remote, std::uint64_t features) {
    if (devices_.insert_or_assign(device, Online{remote, features}).second) ++counts_[{device.site, device.role}];
  }
  void erase(const Identity& device) {
    if (devices_.erase(device) == 0) return;
    const auto count = counts_.find({device.site, device.role});
    if (--count->second == 0) counts_.erase(count);
  }

  // Absent: no channel.
  [[nodiscard]] std::optional<SocketAddress> find(const Identity& device) const {
    const auto found = devices_.find(device);
    return found == devices_.end() ? std::nullopt : std::optional(found->second.remote);
  }
  // False for a device without a channel, too.
  [[nodiscard]] bool has_feature(const Identity& device, std::uint64_t feature) const {
    const auto found = devices_.find(device);
    return found != devices_.end() && (found->second.features & feature) == feature;
  }
  // Asked for by status pages and metrics, of any number of devices.
  [[nodiscard]] std::size_t count(const std::string& site, Role role) const {
    const auto found = counts_.find({site, role});
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  struct Online {
    SocketAddress remote;
    std::uint64_t features = 0;
  };
  std::map<Identity, Online> devices_;
  std::map<std::pair<std::string, Role>, std::size_t> counts_;
};

}  // namespace natt::uv
