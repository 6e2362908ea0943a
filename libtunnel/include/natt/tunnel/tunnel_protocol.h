// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a site's tunnels are made of when they run direct or relayed; a punched path is UDP
// and always carries QUIC. Operator's names: "quic", "tls".

#include <cstdint>
#include <string_view>

namespace natt::tunnel {

enum class TunnelProtocol : std::uint8_t { kQuic, kTls };
[[nodiscard]] constexpr std::string_view to_string(TunnelProtocol protocol) {
  return protocol == TunnelProtocol::kTls ? "tls" : "quic";
}

// What SPA frames for a gateway's TCP port name as the port (docs/WIRE.md 1.2), whatever it listens on: a client may
// know it by the outside of a port forwarding.
inline constexpr std::uint16_t kGatewayKnockPort = 443;

}  // namespace natt::tunnel
