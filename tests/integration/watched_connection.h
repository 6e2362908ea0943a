// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of a TCP connection that notes what it gets and how it ends.

#include <memory>
#include <string>
#include <string_view>

#include <natt/uv/tcp_connection.h>

#include "integration/uv_loop.h"

namespace natt::test {

class WatchedConnection final : public uv::TcpConnection::Listener {
 public:
  explicit WatchedConnection(std::unique_ptr<uv::TcpConnection> taken) : connection(std::move(taken)), connected(true) {
    connection->set_listener(*this);
  }
  // Dials, says `words` and waits.
  WatchedConnection(UvLoop& loop, const SocketAddress& to, ByteView words = {}) {
    auto dialled = uv::TcpConnection::connect(loop.get(), {.to = to}, *this);
    REQUIRE(dialled);
    connection = std::move(*dialled);
    connection->write(words);
  }

  void say(std::string_view words) { connection->write(as_bytes(words)); }
  void hang_up() { connection.reset(); }
  [[nodiscard]] bool over() const { return eof || reset; }
  [[nodiscard]] bool met_silence() const { return connected && received.empty() && !over(); }
  [[nodiscard]] std::string text() const { return std::string(as_text(received)); }

  std::unique_ptr<uv::TcpConnection> connection;
  ByteBuffer received;
  bool connected = false;
  bool eof = false;
  bool reset = false;  // or never connected

 private:
  void on_connected(Instant) override { connected = true; }
  void on_bytes(Instant, ByteView bytes) override { received.insert(received.end(), bytes.begin(), bytes.end()); }
  void on_eof(Instant) override { eof = true; }
  void on_drained(Instant) override {}
  void on_closed(Instant, const Error&) override { reset = true; }
};

}  // namespace natt::test
