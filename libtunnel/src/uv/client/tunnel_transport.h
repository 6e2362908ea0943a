// SPDX-License-Identifier: Apache-2.0
#pragma once

// A tunnel together with what moves its bytes: QUIC over a path of the shared UDP socket, or
// TLS over a TCP connection of its own. Resource type; everything borrowed outlives it.
// Nothing here destroys streams' tunnel while a stream is on the stack: the owner keeps a
// transport that has ended until then (closing_transports.h).

#include <optional>
#include <string_view>

#include <natt/path_id.h>
#include <natt/race.h>
#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/tunnel_protocol.h>

namespace natt::tunnel::uv {

class TunnelTransport {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // From the loop: a transport's own socket has brought or taken something. May destroy the transport.
    virtual void on_transport_progress(Instant now) = 0;
  };

  virtual ~TunnelTransport() = default;
  [[nodiscard]] virtual ClientTunnel& tunnel() = 0;
  [[nodiscard]] virtual const ClientTunnel& tunnel() const = 0;
  [[nodiscard]] virtual TunnelProtocol protocol() const = 0;

  // A packet of the shared UDP socket. False: not this tunnel's.
  [[nodiscard]] virtual bool handle_packet(Instant, PathId, std::uint8_t, ByteView) { return false; }
  // Sends what can go now. True: nothing is left, and if it was closed the gateway has been told.
  [[nodiscard]] virtual bool pump(Instant now) = 0;
  // Tells the gateway, with the next pumps, and stops connecting.
  virtual void close(Instant now, std::string_view reason) = 0;

  // The race is won; and the end of it.
  virtual void start_use(Instant) {}
  virtual void end_use(Instant) {}

  // Of the shared socket; absent over TCP.
  [[nodiscard]] virtual std::optional<PathId> path() const { return std::nullopt; }
  [[nodiscard]] virtual std::optional<SocketAddress> remote() const = 0;
  [[nodiscard]] virtual SocketAddress local() const = 0;
  [[nodiscard]] virtual ConnectionStats stats() const { return tunnel().stats(); }
  // Whether the other host has taken some of what is waiting for it since the last call: where much waits on a slow
  // path, answers are long on their way. False where that cannot be told.
  [[nodiscard]] virtual bool moves_backlog() { return false; }
  // Why it has come to nothing, once the tunnel is closed.
  [[nodiscard]] virtual AttemptFailure failure() const { return AttemptFailure::kHandshake; }
};

}  // namespace natt::tunnel::uv
