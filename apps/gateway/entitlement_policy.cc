// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/entitlement_policy.h"

#include <natt/tunnel/inner_packet.h>

namespace natt::gateway {
namespace {

tunnel::uv::GatewayPolicy::Verdict verdict_of(Decision decision) {
  return {.allowed = decision.allowed, .reason = std::move(decision.reason), .addresses = std::move(decision.addresses)};
}

}  // namespace

void EntitlementPolicy::update(const config::GatewayConfig& config, const Roster& roster,
                               std::vector<IpAddress> own_addresses) {
  NeverList never{.own = std::move(own_addresses), .brokers = {}, .pool = config.tun.pool};
  for (const RosterDevice& device : roster.devices) {
    if (device.identity.role == Role::kBroker) {
      for (const SocketAddress& address : device.addresses) never.brokers.push_back(address.ip);
    } else if (device.identity == config.site.identity) {
      for (const SocketAddress& address : device.addresses) never.own.push_back(address.ip);
    }
  }
  entitlements_ = std::make_unique<Entitlements>(config.site.name, config.entitlements, std::move(never));
}

bool EntitlementPolicy::knows(const Identity& client) const { return entitlements_ && entitlements_->knows(client); }

tunnel::uv::GatewayPolicy::Verdict EntitlementPolicy::check_stream(const Identity& client, tunnel::Protocol protocol,
                                                                   const tunnel::Authority& target,
                                                                   const std::vector<IpAddress>& addresses) const {
  const DialTarget dial{.transport = protocol == tunnel::Protocol::kUdp ? Transport::kUdp : Transport::kTcp,
                        .host = target.ip() ? std::string() : target.host,
                        .addresses = addresses,
                        .port = target.port};
  return verdict_of(entitlements_->check_dial(client, dial));
}

// The gateway has compared the source with the client's assigned addresses before it asks.
tunnel::uv::GatewayPolicy::Verdict EntitlementPolicy::check_packet(const Identity& client,
                                                                   const tunnel::InnerPacket& packet) const {
  return verdict_of(entitlements_->check_packet(client, {packet.flow.source}, packet));
}

}  // namespace natt::gateway
