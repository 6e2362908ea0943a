// SPDX-License-Identifier: Apache-2.0
#pragma once

// Connections and listeners of ours on one loop, with everything that their callbacks said.

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_listener.h>

#include "integration/uv_loop.h"

namespace natt::test {

[[nodiscard]] inline SocketAddress address(const std::string& text) { return SocketAddress::parse(text).value(); }

struct TcpPeer final : uv::TcpConnection::Listener {
  std::unique_ptr<uv::TcpConnection> connection;
  int connected = 0;
  int eof = 0;
  int drained = 0;
  ByteBuffer bytes;
  std::vector<Error> closed;
  std::function<void()> on_any;

  void on_connected(Instant) override { note(connected); }
  void on_bytes(Instant, ByteView more) override {
    bytes.insert(bytes.end(), more.begin(), more.end());
    if (on_any) on_any();
  }
  void on_eof(Instant) override { note(eof); }
  void on_drained(Instant) override { note(drained); }
  void on_closed(Instant, const Error& error) override {
    closed.push_back(error);
    if (on_any) on_any();
  }

 private:
  void note(int& count) {
    ++count;
    if (on_any) on_any();
  }
};

struct TcpAcceptor final : uv::TcpListener::Listener {
  explicit TcpAcceptor(UvLoop& loop, uv::TcpListener::Options options = {.bind = address("[::]:0")}) {
    auto opened = uv::TcpListener::open(loop.get(), options, *this);
    REQUIRE(opened);
    listener = std::move(*opened);
    to = {address("127.0.0.1:1").ip, listener->local_address().port};
  }
  std::unique_ptr<uv::TcpListener> listener;
  SocketAddress to;
  std::vector<std::unique_ptr<uv::TcpConnection>> connections;
  std::function<void()> on_any;
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    connections.push_back(std::move(connection));
    if (on_any) on_any();
  }
};

// A connected pair: `near` dialled, `far` was accepted.
struct TcpPair {
  explicit TcpPair(UvLoop& loop) : acceptor(loop) {
    auto dialled = uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, near);
    REQUIRE(dialled);
    near.connection = std::move(*dialled);
    REQUIRE(loop.run_until([&] { return near.connected == 1 && !acceptor.connections.empty(); }));
    far.connection = std::move(acceptor.connections[0]);
    far.connection->set_listener(far);
  }
  TcpAcceptor acceptor;
  TcpPeer near, far;
};

}  // namespace natt::test
