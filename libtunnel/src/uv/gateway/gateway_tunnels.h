// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tunnels of a gateway, whatever carries them: calls go to the server that made the
// connection's number, events and datagrams come from both in turn. In a QUIC site there is
// only the one. Sans-I/O, one thread; the servers outlive it.

#include <natt/tunnel/server_tunnels.h>

namespace natt::tunnel::uv {

class GatewayTunnels final : public ServerTunnels {
 public:
  // `tls` is null in a QUIC site.
  GatewayTunnels(ServerTunnels& quic, ServerTunnels* tls) : quic_(quic), tls_(tls) {}
  ~GatewayTunnels() override = default;
  GatewayTunnels(const GatewayTunnels&) = delete;
  GatewayTunnels& operator=(const GatewayTunnels&) = delete;

  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<ServerEvent> poll_event() override;

  void accept(StreamId stream) override { of(stream).accept(stream); }
  void reject(StreamId stream, int status, std::string_view reason) override {
    of(stream).reject(stream, status, reason);
  }
  void set_keep_alive(ConnectionId connection, Duration interval) override {
    of(connection).set_keep_alive(connection, interval);
  }
  void close(Instant now, ConnectionId connection, std::string_view reason) override {
    of(connection).close(now, connection, reason);
  }
  void close_all(Instant now, const Identity& identity, std::string_view reason) override;
  void drain(Instant now) override;
  [[nodiscard]] bool is_idle() const override;
  [[nodiscard]] std::optional<ConnectionStats> stats(ConnectionId connection) const override {
    return of(connection).stats(connection);
  }

  [[nodiscard]] MutableBytes reserve(StreamId stream) override { return of(stream).reserve(stream); }
  void commit(StreamId stream, std::size_t size) override { of(stream).commit(stream, size); }
  void shutdown_write(StreamId stream) override { of(stream).shutdown_write(stream); }
  [[nodiscard]] ByteView peek(StreamId stream) const override { return of(stream).peek(stream); }
  void consume(StreamId stream, std::size_t size) override { of(stream).consume(stream, size); }
  void reset(StreamId stream, std::uint64_t code) override { of(stream).reset(stream, code); }
  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload) override {
    return of(stream).send_datagram(stream, payload);
  }
  [[nodiscard]] std::optional<Datagram> poll_datagram() override;
  [[nodiscard]] Result<void> send_capsule(StreamId stream, const ControlCapsule& capsule) override {
    return of(stream).send_capsule(stream, capsule);
  }

 private:
  [[nodiscard]] ServerTunnels& of(ConnectionId connection) const {
    return tls_ != nullptr && protocol_of(connection) == TunnelProtocol::kTls ? *tls_ : quic_;
  }
  [[nodiscard]] ServerTunnels& of(StreamId stream) const { return of(stream.connection); }
  // Asks the one whose turn it is first, and the other if that has nothing.
  template <typename Poll>
  [[nodiscard]] auto poll_in_turn(bool& tls_first, const Poll& poll);

  ServerTunnels& quic_;
  ServerTunnels* tls_;
  bool tls_event_first_ = false;
  bool tls_datagram_first_ = false;
};

}  // namespace natt::tunnel::uv
