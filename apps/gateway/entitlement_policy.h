// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gateway program's entitlements as the policy that natt::tunnel::uv::Gateway asks.

#include <memory>

#include <natt/roster.h>
#include <natt/tunnel/uv/gateway_policy.h>

#include "apps/config/gateway_config.h"
#include "apps/gateway/entitlements.h"

namespace natt::gateway {

class EntitlementPolicy final : public tunnel::uv::GatewayPolicy {
 public:
  // Rebuilds the rules: at start, after a reload, and when addresses or brokers change.
  void update(const config::GatewayConfig& config, const Roster& roster, std::vector<IpAddress> own_addresses);

  [[nodiscard]] bool knows(const Identity& client) const override;
  [[nodiscard]] Verdict check_stream(const Identity& client, tunnel::Protocol protocol, const tunnel::Authority& target,
                                     const std::vector<IpAddress>& addresses) const override;
  [[nodiscard]] Verdict check_packet(const Identity& client, const tunnel::InnerPacket& packet) const override;

 private:
  std::unique_ptr<Entitlements> entitlements_;
};

}  // namespace natt::gateway
