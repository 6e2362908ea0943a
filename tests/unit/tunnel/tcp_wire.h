// SPDX-License-Identifier: Apache-2.0
#pragma once

// TCP connections between one TlsServer and its clients: latency, and a buffer that is full
// when the other end does not take bytes. A connection can stall, break, or deliver its bytes
// in pieces of any size.

#include <deque>
#include <memory>
#include <vector>

#include <natt/tunnel/tls_client.h>
#include <natt/tunnel/tls_server.h>

#include "unit/tunnel/wire.h"

namespace natt::test {

class TcpWire final : public Wire {
 public:
  // As a socket with default buffers.
  static constexpr std::size_t kBuffer = 256 * 1024;

  TcpWire(tunnel::TlsServer& server, WallTime wall_now) : server_(server), wall_now_(wall_now) {}

  struct Link {
    tunnel::TlsClient* client = nullptr;  // null: destroyed
    Identity identity;                    // whom the door has let in
    Duration latency{};
    std::size_t piece = 64 * 1024;  // octets handed over at a time
    bool stalled = false;           // takes bytes until the buffer is full, delivers none
    std::optional<tunnel::ConnectionId> connection;
    std::optional<Error> refused;  // by handle_connected()
    bool server_closed = false;    // has closed its TCP connection
    bool client_closed = false;
    // Sees every octet string before it is delivered; may change it.
    std::function<void(bool to_server, ByteBuffer& bytes)> tap;

    struct Segment {
      Instant at;
      ByteBuffer bytes;
      bool end = false;
    };
    std::deque<Segment> to_server;
    std::deque<Segment> to_client;
  };
  Link& attach(tunnel::TlsClient& client, const Identity& identity, Duration latency);
  [[nodiscard]] Link& link(const tunnel::TlsClient& client);
  static Error end_of_stream();
  // Ends the connection at both ends without a farewell.
  void cut(Link& link, const Error& error = end_of_stream());

  void flush() override;

 private:
  void fire_timers() override;
  [[nodiscard]] std::optional<Instant> next_event() const override;
  void deliver_due() override;
  void flush_client(Link& link);
  void flush_server(Link& link);
  void send(std::deque<Link::Segment>& pipe, const Link& link, ByteView bytes, bool end);
  void deliver_to_server(Link& link, Link::Segment segment);
  void deliver_to_client(Link& link, Link::Segment segment);

  tunnel::TlsServer& server_;
  WallTime wall_now_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace natt::test
