// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which devices have an open channel, and what the gateways among them last said about
// themselves. Internal to libnatt.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <natt/identity.h>
#include <natt/signal_hub.h>

namespace natt {

class HubPresence {
 public:
  // The newer channel of a device takes over; returns the older one.
  std::optional<ChannelId> arrive(const Identity& identity, ChannelId channel);
  // False when a newer channel has taken over: then the device is still there.
  bool leave(const Identity& identity, ChannelId channel);
  [[nodiscard]] std::optional<ChannelId> channel_of(const Identity& identity) const;

  // True when clients should hear of it: anything but the load differs.
  bool set_registration(const Identity& gateway, const GatewayRegistration& registration);
  // Gateways of the site that registered, in messages of kMaxDirectoryEntries, the first one complete.
  [[nodiscard]] std::vector<GatewayDirectory> directory(const std::string& site) const;
  // Channels of the site, of one role or of all.
  [[nodiscard]] std::vector<ChannelId> channels(const std::string& site, std::optional<Role> role) const;

 private:
  struct Device {
    ChannelId channel;
    std::optional<GatewayRegistration> registration;
  };
  std::map<Identity, Device> devices_;
};

}  // namespace natt
