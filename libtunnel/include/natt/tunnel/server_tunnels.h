// SPDX-License-Identifier: Apache-2.0
#pragma once

// Site tunnels as a gateway serves them once their bytes have a way: over QUIC and HTTP/3
// (`Server`) or over TLS and HTTP/2 (`TlsServer`). StreamIds carry the connection; those of
// the two never meet, because a TLS connection's number has kTlsConnection set. Sans-I/O, one thread.

#include <optional>
#include <string_view>
#include <variant>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/time.h>
#include <natt/tunnel/streams.h>
#include <natt/tunnel/transport_options.h>
#include <natt/tunnel/tunnel_protocol.h>

namespace natt::tunnel {

inline constexpr std::uint64_t kTlsConnection = std::uint64_t{1} << 63;
[[nodiscard]] constexpr TunnelProtocol protocol_of(ConnectionId connection) {
  return (connection.value & kTlsConnection) != 0 ? TunnelProtocol::kTls : TunnelProtocol::kQuic;
}

struct ServerOptions {
  TransportOptions transport{};
  // Of one server: a gateway of a TLS site has two, one for QUIC and one for TLS, and so twice as many. New ones beyond
  // it are not answered: QUIC's packets are dropped, a TCP connection is closed.
  std::size_t max_connections = 10'000;
  // Of one server too. A race opens three and a reconnect may overlap; when one more has proved itself by its
  // certificate, the identity's that was silent for longest is closed.
  std::size_t max_connections_per_identity = 16;
  // Those that have not proved themselves yet; one more closes the oldest of them, and nothing that has. An honest race
  // is four addresses with three copies of a SYN each, and a reconnect may overlap.
  std::size_t max_handshakes_per_identity = 48;
  // Requests that a client takes back before they were answered: burst and rate per second,
  // beyond which the connection is closed with H3_EXCESSIVE_LOAD or ENHANCE_YOUR_CALM (CVE-2023-44487).
  std::uint32_t reset_burst = 500;
  std::uint32_t resets_per_second = 100;
};

// TLS is complete and certificate and SPA frame name the same device.
struct ClientConnected {
  ConnectionId connection;
  Identity identity;
  PathId path;  // none over TLS
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

class ServerTunnels : public Streams {
 public:
  virtual void handle_timeout(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  [[nodiscard]] virtual std::optional<ServerEvent> poll_event() = 0;

  // Opens the stream (200).
  virtual void accept(StreamId stream) = 0;
  // Ends it with an HTTP status from 400 to 599; `reason` is a short visible-ASCII sentence
  // for the client's log. Other octets are replaced.
  virtual void reject(StreamId stream, int status, std::string_view reason) = 0;

  // As TransportOptions::keep_alive; 0 stops. A client that is gone does not answer: ConnectionStats::packets_in.
  virtual void set_keep_alive(ConnectionId connection, Duration interval) = 0;
  // Ends one connection; ClientDisconnected follows.
  virtual void close(Instant now, ConnectionId connection, std::string_view reason) = 0;
  // Revocation: ends every connection of a device, also those in the handshake, at once.
  virtual void close_all(Instant now, const Identity& identity, std::string_view reason) = 0;
  // No new connections or requests; clients are told (GOAWAY), those in the handshake at its end. Streams go on.
  virtual void drain(Instant now) = 0;
  // No connection is left, closing ones included.
  [[nodiscard]] virtual bool is_idle() const = 0;

  [[nodiscard]] virtual std::optional<ConnectionStats> stats(ConnectionId connection) const = 0;
};

}  // namespace natt::tunnel
