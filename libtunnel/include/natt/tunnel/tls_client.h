// SPDX-License-Identifier: Apache-2.0
#pragma once

// Client end of a site tunnel over one TCP connection, direct or spliced by a relay: TLS 1.3
// (RFC 8446) with HTTP/2 (RFC 9113; extended CONNECT, RFC 8441; datagrams as capsules,
// RFC 9297 section 3.5) to a gateway. Sans-I/O: bytes and `now` in; bytes, deadlines and
// events out.
//
//   auto client = TlsClient::make(now, wall_now, tls, {.expectation = ...});
//   send(hello_bound_to((*client)->client_hello()));       // record 1 of the TCP carrier, WIRE.md 1.5; not on a relay
//   while (!(out = (*client)->output(now)).empty()) (*client)->consume_output(send(out));  // after every call below
//   (*client)->handle_bytes(now, bytes);                   // from the socket
//   arm((*client)->next_deadline());                       // then handle_timeout(now)
//
// Resource class, one thread. The destructor is silent: nothing is sent.

#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/transport_options.h>

namespace natt::tunnel {

struct TlsClientOptions {
  // The gateway; a certificate that is somebody else's ends the handshake.
  PeerExpectation expectation;
  // Of it: idle_timeout, keep_alive, handshake_timeout, the windows, send_buffer, datagram_receive_queue, log.
  TransportOptions transport{};
};

class TlsClient final : public ClientTunnel {
 public:
  // `tls` outlives the client; of direction kClient with ALPN "h2". `wall_now` is what the gateway's certificate is
  // checked against.
  [[nodiscard]] static Result<std::unique_ptr<TlsClient>> make(Instant now, WallTime wall_now, const TlsContext& tls,
                                                               const TlsClientOptions& options);
  ~TlsClient() override;
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // The whole first record, header included. Also what output() begins with; stays valid and the same until the first
  // handle_bytes(), so that several connections can be tried with it.
  [[nodiscard]] ByteView client_hello() const;

  void handle_bytes(Instant now, ByteView bytes);
  // The TCP connection has ended or broken: ConnectionClosed follows, unless close_notify came before. natt's kTimeout
  // becomes tunnel's, everything else kIo.
  void handle_disconnected(Instant now, const Error& error);
  // The most that output() gives, and what a farewell adds to it once: the control frames that waited, and GOAWAY with
  // the reason where it still fits.
  static constexpr std::size_t kMaxOutput = 64 * 1024;
  static constexpr std::size_t kMaxFarewell = 128 * 1024;
  // The next octets to send, contiguous; empty: nothing now. Valid until the next call of any non-const method. What is
  // not consumed stays: that is the back-pressure.
  [[nodiscard]] ByteView output(Instant now);
  void consume_output(std::size_t count);

  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<ClientEvent> poll_event() override;

  [[nodiscard]] Result<StreamId> open_tcp(const Authority& target) override;
  // These two are kLimit until Confirmed: a client may not ask for extended CONNECT before the gateway's SETTINGS
  // (RFC 8441 section 3). kRefused when those do not offer it.
  [[nodiscard]] Result<StreamId> open_udp(const Authority& target) override;
  [[nodiscard]] Result<StreamId> open_ip() override;

  // What output() still gives ends with GOAWAY and close_notify; the owner closes the TCP connection after it.
  void close(Instant now, std::string_view reason) override;
  [[nodiscard]] bool is_closed() const override;
  // packets_in counts handle_bytes() that brought something, be it the answer to a PING; packets_out what was consumed
  // of output(). There is no RTT, congestion window or UDP payload of ours: 0.
  [[nodiscard]] ConnectionStats stats() const override;

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
  explicit TlsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel
