// SPDX-License-Identifier: Apache-2.0
#pragma once

// gateway.toml: a gateway belongs to exactly one site. It alone decides who may reach
// what behind it, so its entitlements stand in its own file. Value type.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <natt/error.h>

#include "apps/config/program_config.h"
#include "apps/gateway/entitlement_rule.h"

namespace natt::config {

// `[listen] spa`: off serves third-party MASQUE clients that cannot knock; the
// loader accepts it on a loopback address only.
enum class ListenSpa : std::uint8_t { kOn, kOff };

struct GatewayListen {
  IpAddress address;         // unspecified: every address of the host, IPv4 and IPv6
  std::uint16_t port = 443;  // UDP (TCP too on TLS sites); 0: any free port
  ListenSpa spa = ListenSpa::kOn;
};

struct GatewayTun {
  bool enabled = false;
  std::string name = "natt-gw";
  std::vector<IpPrefix> pool;    // clients get their addresses out of these; at most one per family
  std::vector<IpPrefix> routes;  // advertised to clients
};

struct GatewayConfig : ProgramConfig {
  GatewayListen listen;
  GatewayTun tun;
  std::vector<gateway::Entitlement> entitlements;  // `[[entitlement]]`; what is not allowed here is denied
  // Private candidates may be tried with clients inside these blocks (DESIGN 7): `[probe] prefixes`.
  std::vector<IpPrefix> probe_prefixes;
  SiteConfig site;
};

// Errors as in broker_config.h.
[[nodiscard]] Result<GatewayConfig> load_gateway_config(const std::filesystem::path& file);
[[nodiscard]] Result<GatewayConfig> parse_gateway_config(std::string_view text, const std::filesystem::path& file);

}  // namespace natt::config
