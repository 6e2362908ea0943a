// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gateway end of site tunnels over TCP connections: TLS 1.3 with HTTP/2, as TlsClient. A
// connection comes here only after it has proved itself, by the SPA frame in front of its
// ClientHello or by the signed offer of a relayed session; everything before that is the
// door's business. Sans-I/O with the verbs of Server.
//
// Resource class, one thread. The destructor is silent: nothing is sent.

#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/server_tunnels.h>

namespace natt::tunnel {

struct TlsServerStats {
  // Connections that were not taken.
  std::uint64_t over_limit = 0;  // max_connections
  std::uint64_t draining = 0;
  std::uint64_t handshakes_failed = 0;
  std::uint64_t connections = 0;  // now, closing ones not counted
};

class TlsServer final : public ServerTunnels {
 public:
  // `tls` outlives the server; of direction kServer with ALPN "h2".
  [[nodiscard]] static Result<std::unique_ptr<TlsServer>> make(const TlsContext& tls,
                                                               const ServerOptions& options = {});
  ~TlsServer() override;
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  // A new connection of `client`; a certificate of anybody else ends it. `first`: what was read already, from the
  // ClientHello record on, possibly empty. kLimit when there is no room for it, or while draining.
  [[nodiscard]] Result<ConnectionId> handle_connected(Instant now, WallTime wall_now, const Identity& client,
                                                      ByteView first);
  void handle_bytes(Instant now, ConnectionId connection, ByteView bytes);
  void handle_disconnected(Instant now, ConnectionId connection, const Error& error);
  // A connection whose output() may have become non-empty, or that is_closed() now; each once per change.
  [[nodiscard]] std::optional<ConnectionId> poll_progress();
  // As TlsClient.
  [[nodiscard]] ByteView output(Instant now, ConnectionId connection);
  void consume_output(ConnectionId connection, std::size_t count);
  // Everything is said: the owner sends what output() still has and closes the TCP connection. Also for unknown ones.
  [[nodiscard]] bool is_closed(ConnectionId connection) const;

  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<ServerEvent> poll_event() override;

  void accept(StreamId stream) override;
  void reject(StreamId stream, int status, std::string_view reason) override;

  // For connections from now on. It outlives the server, and so does the former one.
  void set_tls(const TlsContext& tls);
  void set_keep_alive(ConnectionId connection, Duration interval) override;
  void close(Instant now, ConnectionId connection, std::string_view reason) override;
  void close_all(Instant now, const Identity& identity, std::string_view reason) override;
  void drain(Instant now) override;
  [[nodiscard]] bool is_idle() const override;

  [[nodiscard]] TlsServerStats stats() const;
  [[nodiscard]] std::optional<ConnectionStats> stats(ConnectionId connection) const override;

  [[nodiscard]] MutableBytes reserve(StreamId stream) override;
  void commit(StreamId stream, std::size_t size) override;
  void shutdown_write(StreamId stream) override;
  [[nodiscard]] ByteView peek(StreamId stream) const override;
  void consume(StreamId stream, std::size_t size) override;
  void reset(StreamId stream, std::uint64_t code) override;
  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload) override;
  [[nodiscard]] std::optional<Datagram> poll_datagram() override;
  [[nodiscard]] Result<void> send_capsule(StreamId stream, const ControlCapsule& capsule) override;

 private:
  class Impl;
  explicit TlsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel
