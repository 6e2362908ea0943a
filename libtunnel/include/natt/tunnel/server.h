// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gateway end of site tunnels over QUIC: one socket, many QUIC connections with HTTP/3. Sans-I/O with
// the same verbs as Client; StreamIds carry the connection.
//
// Silence: a packet is a known connection id's, or an Initial with a 64-octet token that the
// InitialGate admits; everything else is dropped and counted before ngtcp2 or TLS sees it.
// Version Negotiation, Retry and Stateless Reset never leave (SPA.md section 1.4).
//
// Resource class, one thread. The destructor is silent: nothing is sent.

#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/random.h>
#include <natt/spa/connection_id.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/initial_gate.h>
#include <natt/tunnel/packet_batch.h>
#include <natt/tunnel/server_tunnels.h>

namespace natt::tunnel {

// Why packets were dropped without an answer.
struct ServerStats {
  std::uint64_t malformed = 0;        // no QUIC packet
  std::uint64_t unknown_id = 0;       // a short header for no connection of ours
  std::uint64_t foreign_id = 0;       // an id that this server did not make
  std::uint64_t wrong_version = 0;
  std::uint64_t no_token = 0;         // an Initial without a 64-octet token
  std::uint64_t not_admitted = 0;     // the gate said no
  std::uint64_t over_limit = 0;       // max_connections, or held packets
  std::uint64_t draining = 0;
  std::uint64_t held = 0;             // later part of a ClientHello came first (not dropped)
  std::uint64_t handshakes_failed = 0;
  std::uint64_t connections = 0;      // now, closing ones not counted
};

class Server final : public ServerTunnels {
 public:
  // All arguments outlive the server. `tls` is of direction kServer with ALPN "h3".
  [[nodiscard]] static Result<std::unique_ptr<Server>> make(TlsContext& tls, InitialGate& gate,
                                                            const spa::ConnectionIdKey& connection_ids, Random& random,
                                                            const ServerOptions& options = {});
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Whether a packet's destination connection id is that of a connection. Any bytes. Lets the
  // owner create a PathId only for packets that are worth one.
  [[nodiscard]] bool accepts(ByteView packet) const;
  // One UDP payload (one segment of a GRO train). `path` may be none for packets that are not
  // accepts(): see Admission::path.
  void handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  // Fills `batch` from the connections in turn; false when none has anything to send now.
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);
  [[nodiscard]] std::optional<ServerEvent> poll_event() override;

  void accept(StreamId stream) override;
  void reject(StreamId stream, int status, std::string_view reason) override;

  void set_keep_alive(ConnectionId connection, Duration interval) override;
  // For connections from now on, as make()'s, and prepare_tls() has succeeded with it. It outlives the server, and so
  // does the former one.
  void set_tls(TlsContext& tls);
  // All that may fail of it; changes nothing but `tls`.
  [[nodiscard]] static Result<void> prepare_tls(TlsContext& tls);
  void close(Instant now, ConnectionId connection, std::string_view reason) override;
  void close_all(Instant now, const Identity& identity, std::string_view reason) override;
  void drain(Instant now) override;
  [[nodiscard]] bool is_idle() const override;

  [[nodiscard]] ServerStats stats() const;
  [[nodiscard]] std::optional<ConnectionStats> stats(ConnectionId connection) const override;
  [[nodiscard]] std::size_t datagram_limit(StreamId stream) const;

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
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel
