// SPDX-License-Identifier: Apache-2.0
#include "src/signal/hub_presence.h"

#include <utility>

namespace natt {
namespace {

bool same_but_load(const GatewayRegistration& a, const GatewayRegistration& b) {
  return a.addresses == b.addresses && a.udp == b.udp && a.boot_id == b.boot_id;
}

}  // namespace

std::optional<ChannelId> HubPresence::arrive(const Identity& identity, ChannelId channel) {
  const auto [at, is_new] = devices_.try_emplace(identity, Device{channel, std::nullopt});
  if (is_new) return std::nullopt;
  return std::exchange(at->second.channel, channel);
}

bool HubPresence::leave(const Identity& identity, ChannelId channel) {
  const auto at = devices_.find(identity);
  if (at == devices_.end() || at->second.channel != channel) return false;
  devices_.erase(at);
  return true;
}

std::optional<ChannelId> HubPresence::channel_of(const Identity& identity) const {
  const auto at = devices_.find(identity);
  return at == devices_.end() ? std::nullopt : std::optional(at->second.channel);
}

bool HubPresence::set_registration(const Identity& gateway, const GatewayRegistration& registration) {
  const auto at = devices_.find(gateway);
  if (at == devices_.end()) return false;
  const bool news = !at->second.registration || !same_but_load(*at->second.registration, registration);
  at->second.registration = registration;
  return news;
}

std::vector<GatewayDirectory> HubPresence::directory(const std::string& site) const {
  std::vector<GatewayDirectory> messages(1);
  messages.front().complete = true;
  for (auto at = devices_.lower_bound({site, Role::kGateway, ""}); at != devices_.end(); ++at) {
    const auto& [identity, device] = *at;
    if (identity.site != site || identity.role != Role::kGateway) break;
    if (!device.registration) continue;
    if (messages.back().entries.size() == kMaxDirectoryEntries) messages.emplace_back();
    messages.back().entries.push_back({identity, true, *device.registration});
  }
  return messages;
}

std::vector<ChannelId> HubPresence::channels(const std::string& site, std::optional<Role> role) const {
  std::vector<ChannelId> found;
  for (auto at = devices_.lower_bound({site, Role::kBroker, ""}); at != devices_.end(); ++at) {
    if (at->first.site != site) break;
    if (!role || at->first.role == *role) found.push_back(at->second.channel);
  }
  return found;
}

}  // namespace natt
