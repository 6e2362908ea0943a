// SPDX-License-Identifier: Apache-2.0
#pragma once

// Client end of a site tunnel over QUIC: one connection (RFC 9000, version 1) with HTTP/3
// (RFC 9114) to a gateway. Sans-I/O: packets and `now` in; packet bursts, deadlines and
// events out. QUIC sees only PathIds; real addresses, sockets and relay sessions are the
// path table's business.
//
//   auto client = Client::make(now, wall_now, tls, random, {.expectation = ..., .token = ..., ...});
//   (*client)->handle_packet(now, path, ecn, bytes);        // from the socket, for accepts(bytes)
//   while ((*client)->poll_batch(now, batch)) send(batch);  // after every call below
//   arm((*client)->next_deadline());                        // then handle_timeout(now)
//   while (auto event = (*client)->poll_event()) ...
//
// Resource class, one thread. The destructor is silent: nothing is sent.

#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/random.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/packet_batch.h>
#include <natt/tunnel/transport_options.h>

namespace natt::tunnel {

struct ClientOptions {
  // The gateway; a certificate that is somebody else's ends the handshake.
  PeerExpectation expectation;
  // The SPA frame for this attempt; it is bound to `dcid` and `scid` (SPA.md section 1.2).
  std::array<std::uint8_t, 64> token{};
  // Random for every attempt: destination 8 to 20 octets (RFC 9000 section 7.2), source 1 to
  // 20. 16 and 8 are what the gateway itself and this library use.
  ByteBuffer dcid;
  ByteBuffer scid;
  // Path of the first packet. Stays until Confirmed.
  PathId path;
  TransportOptions transport{};
};

enum class MigrationKind : std::uint8_t {
  kUpgrade,   // the current path works: probe the new one, then switch
  kFailover,  // the current path is dead (or was for 1 s): switch at once, probe meanwhile
};

class Client final : public ClientTunnel {
 public:
  // `tls` and `random` outlive the client. `tls` is of direction kClient with ALPN "h3".
  // `wall_now` is what the gateway's certificate is checked against.
  [[nodiscard]] static Result<std::unique_ptr<Client>> make(Instant now, WallTime wall_now, TlsContext& tls,
                                                            Random& random, const ClientOptions& options);
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Whether a packet's destination connection id is one of this client's: how the owner of a
  // socket tells the attempts of a race apart. Any bytes.
  [[nodiscard]] bool accepts(ByteView packet) const;
  // One UDP payload (one segment of a GRO train). `ecn` is the codepoint it came with, 0 if unknown.
  void handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  // Fills `batch`; false when there is nothing to send now. Call until false.
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);
  [[nodiscard]] std::optional<ClientEvent> poll_event() override;

  [[nodiscard]] Result<StreamId> open_tcp(const Authority& target) override;
  [[nodiscard]] Result<StreamId> open_udp(const Authority& target) override;
  [[nodiscard]] Result<StreamId> open_ip() override;

  // Moves the connection to a path it did not use before (a fresh PathId, also when the real
  // path is the same one). kInvalid before Confirmed, kLimit without a spare connection id.
  [[nodiscard]] Result<void> migrate(Instant now, PathId path, MigrationKind kind);
  void close(Instant now, std::string_view reason) override;
  [[nodiscard]] bool is_closed() const override;

  [[nodiscard]] PathId current_path() const;
  [[nodiscard]] ConnectionStats stats() const override;
  // Payload that fits a QUIC datagram on this stream now; longer ones go as capsules. 0 without one.
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
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel
