// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who may reach what behind a gateway: asked for every stream and every inner packet,
// answered by the embedding program. The gateway itself allows nothing.

#include <string>
#include <vector>

#include <natt/address.h>
#include <natt/identity.h>
#include <natt/tunnel/authority.h>
#include <natt/tunnel/inner_packet.h>
#include <natt/tunnel/streams.h>

namespace natt::tunnel::uv {

class GatewayPolicy {
 public:
  struct Verdict {
    bool allowed = false;
    // The rule that allowed it, or why it was denied; for the log.
    std::string reason;
    // For streams: what may be dialled, in this order. Empty when denied.
    std::vector<IpAddress> addresses;
  };

  virtual ~GatewayPolicy() = default;
  // Whether anything at all is allowed: offers and Initials of others are refused before a packet is sent for them.
  [[nodiscard]] virtual bool knows(const Identity& client) const = 0;
  // A stream to `target`; `addresses` is the address asked for, or what the name resolved to.
  [[nodiscard]] virtual Verdict check_stream(const Identity& client, Protocol protocol, const Authority& target,
                                             const std::vector<IpAddress>& addresses) const = 0;
  // The first packet of a flow inside an IP tunnel; its source is the client's assigned address already.
  [[nodiscard]] virtual Verdict check_packet(const Identity& client, const InnerPacket& packet) const = 0;
};

}  // namespace natt::tunnel::uv
