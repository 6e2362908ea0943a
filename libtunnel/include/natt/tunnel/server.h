// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gateway end of site tunnels: one socket, many QUIC connections with HTTP/3. Sans-I/O with
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
#include <variant>

#include <natt/bytes.h>
#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/random.h>
#include <natt/spa/connection_id.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/initial_gate.h>
#include <natt/tunnel/packet_batch.h>
#include <natt/tunnel/streams.h>
#include <natt/tunnel/transport_options.h>

namespace natt::tunnel {

struct ServerOptions {
  TransportOptions transport{};
  // New connections beyond it are dropped in silence.
  std::size_t max_connections = 10'000;
  // A race opens three and a reconnect may overlap; beyond it the identity's connection that
  // was silent for longest is closed.
  std::size_t max_connections_per_identity = 16;
  // Requests that a client takes back before they were answered: burst and rate per second,
  // beyond which the connection is closed with H3_EXCESSIVE_LOAD (CVE-2023-44487).
  std::uint32_t reset_burst = 500;
  std::uint32_t resets_per_second = 100;
};

// TLS is complete and certificate and SPA frame name the same device.
struct ClientConnected {
  ConnectionId connection;
  Identity identity;
  PathId path;
  // Of the client's certificate, for the owner to ask the roster whether it is revoked.
  CertificateSerial serial;
};
// A client wants a stream: answer with accept() or reject(). Not answering holds it open.
struct Request {
  StreamId stream;
  Identity identity;
  Protocol protocol = Protocol::kTcp;
  // For kIp empty: the whole tunnel.
  Authority target;
};
// All streams of the connection are dead without further events.
struct ClientDisconnected {
  ConnectionId connection;
  Identity identity;
  Error error;
};

using ServerEvent = std::variant<ClientConnected, Request, Readable, Writable, Finished, StreamReset, StreamClosed,
                                 CapsuleReceived, PathChanged, ClientDisconnected>;

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

class Server final : public Streams {
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
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // Fills `batch` from the connections in turn; false when none has anything to send now.
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);
  [[nodiscard]] std::optional<ServerEvent> poll_event();

  // Opens the stream (200).
  void accept(StreamId stream);
  // Ends it with an HTTP status from 400 to 599; `reason` is a short visible-ASCII sentence
  // for the client's log. Other octets are replaced.
  void reject(StreamId stream, int status, std::string_view reason);

  // PINGs after this long without a packet; 0 stops. A client that is gone does not answer: ConnectionStats::packets_in.
  void set_keep_alive(ConnectionId connection, Duration interval);
  // For connections from now on, as make()'s, and prepare_tls() has succeeded with it. It outlives the server, and so
  // does the former one.
  void set_tls(TlsContext& tls);
  // All that may fail of it; changes nothing but `tls`.
  [[nodiscard]] static Result<void> prepare_tls(TlsContext& tls);
  // Ends one connection; ClientDisconnected follows.
  void close(Instant now, ConnectionId connection, std::string_view reason);
  // Revocation: ends every connection of a device, also those in the handshake, at once.
  void close_all(Instant now, const Identity& identity, std::string_view reason);
  // No new connections or requests; clients are told (GOAWAY). Streams go on.
  void drain(Instant now);
  // No connection is left, closing ones included.
  [[nodiscard]] bool is_idle() const;

  [[nodiscard]] ServerStats stats() const;
  [[nodiscard]] std::optional<ConnectionStats> stats(ConnectionId connection) const;
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
