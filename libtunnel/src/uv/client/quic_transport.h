// SPDX-License-Identifier: Apache-2.0
#pragma once

// A QUIC tunnel on one path of the endpoint's socket.

#include <memory>

#include <natt/tunnel/client.h>
#include <natt/tunnel/uv/packet_pump.h>

#include "src/uv/client/tunnel_transport.h"

namespace natt::tunnel::uv {

class QuicTransport final : public TunnelTransport {
 public:
  QuicTransport(std::unique_ptr<Client> client, PathId path, natt::uv::EndpointDriver& driver, PacketPump& pump)
      : client_(std::move(client)), path_(path), driver_(driver), pump_(pump) {}

  [[nodiscard]] ClientTunnel& tunnel() override { return *client_; }
  [[nodiscard]] const ClientTunnel& tunnel() const override { return *client_; }
  [[nodiscard]] TunnelProtocol protocol() const override { return TunnelProtocol::kQuic; }
  [[nodiscard]] bool handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) override;
  [[nodiscard]] bool pump(Instant now) override { return pump_.pump(now, *client_); }
  void close(Instant now, std::string_view reason) override { client_->close(now, reason); }
  void start_use(Instant now) override;
  void end_use(Instant now) override;
  [[nodiscard]] std::optional<PathId> path() const override { return path_; }
  [[nodiscard]] std::optional<SocketAddress> remote() const override;
  [[nodiscard]] SocketAddress local() const override { return driver_.local_address(); }

 private:
  std::unique_ptr<Client> client_;
  PathId path_;
  natt::uv::EndpointDriver& driver_;
  PacketPump& pump_;
  bool in_use_ = false;
};

}  // namespace natt::tunnel::uv
