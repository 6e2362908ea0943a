// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who comes to a TCP port, driven by a test: a client with its frame, certificate and HTTP/2.

#include <memory>
#include <string>

#include <natt/credentials.h>
#include <natt/spa/knocker.h>
#include <natt/tls_context.h>
#include <natt/tunnel/tls_client.h>
#include <natt/uv/relay_join.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/timer.h>

#include "integration/uv_loop.h"

namespace natt::test {

// A client of the tunnel, over a connection of its own or one that it is given.
class TlsPeer final : private uv::TcpConnection::Listener, private uv::Timer::Listener {
 public:
  TlsPeer(UvLoop& loop, const Credentials& credentials, const Identity& gateway);
  ~TlsPeer() override = default;

  // Both records of the direct way in: a frame of `knocker` in front of this client's ClientHello.
  [[nodiscard]] ByteBuffer first_flight(spa::Knocker& knocker) const;
  // `front` goes before what the tunnel itself says, its ClientHello first.
  void connect(const SocketAddress& to, ByteView front);
  // A frame of the knocker in front.
  void connect(const SocketAddress& to, spa::Knocker& knocker);
  void take(std::unique_ptr<uv::TcpConnection> connection);

  // Opens a stream once the tunnel is there; what it brings is in `received`.
  void open(const tunnel::Authority& target);
  void send(ByteView bytes);
  void finish_sending();
  void hang_up() { connection_.reset(); }
  // Reads nothing until it is told to.
  void pause() { connection_->pause_reading(); }
  void resume() { connection_->resume_reading(); }
  void close() {
    client->close(uv::now(), "done");
    flush();
  }

  std::unique_ptr<tunnel::TlsClient> client;
  std::optional<CertificateSerial> gateway_serial;  // once connected
  bool confirmed = false;
  int status = 0;  // of the last stream
  std::string received;
  bool finished = false;
  bool stream_closed = false;
  std::optional<Error> ended;  // the tunnel is over
  std::size_t bytes_in = 0;    // whatever they were

 private:
  void on_connected(Instant) override { flush(); }
  void on_bytes(Instant now, ByteView bytes) override;
  void on_eof(Instant now) override;
  void on_drained(Instant) override { flush(); }
  void on_closed(Instant now, const Error& error) override;
  void on_timer(Instant now) override;
  void handle(const tunnel::ClientEvent& event);
  void pump();
  void flush();

  UvLoop& loop_;
  std::unique_ptr<TlsContext> tls_;
  uv::Timer timer_;
  std::unique_ptr<uv::TcpConnection> connection_;
  std::optional<tunnel::StreamId> stream_;
  ByteBuffer to_send_;
  std::size_t taken_ = 0;  // of it, by the stream
  bool finish_wanted_ = false;
};

}  // namespace natt::test
