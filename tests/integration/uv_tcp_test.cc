// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>

#include <natt/errc.h>

#include "integration/tcp_pair.h"
#include "support/pattern.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("tcp: bytes flow both ways over both families", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  pair.near.connection->write(pattern(1000, 1));
  pair.far.connection->write(pattern(77, 1));
  REQUIRE(loop.run_until([&] { return pair.far.bytes.size() == 1000 && pair.near.bytes.size() == 77; }));

  CHECK(pair.far.bytes == pattern(1000, 1));
  CHECK(pair.far.connection->remote_address() == pair.near.connection->local_address());
  CHECK(pair.near.connection->remote_address() == pair.far.connection->local_address());
  CHECK(pair.near.connection->bytes_sent() == 1000);
  CHECK(pair.far.connection->bytes_received() == 1000);
  const auto rtt = pair.near.connection->smoothed_rtt();
  REQUIRE(rtt);
  CHECK((*rtt > 0ns && *rtt < 1s));
  pair.near.connection->abort();
  CHECK_FALSE(pair.near.connection->smoothed_rtt());

  TcpPeer v6;
  auto dialled = uv::TcpConnection::connect(
      loop.get(), {.to = {address("[::1]:1").ip, pair.acceptor.to.port}, .from = {}}, v6);
  REQUIRE(dialled);
  CHECK(loop.run_until([&] { return v6.connected == 1; }));
}

TEST_CASE("tcp: bytes written before the connection is there are sent when it is", "[natt][uv]") {
  UvLoop loop;
  TcpAcceptor acceptor(loop);
  TcpPeer near, far;
  auto dialled = uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, near);
  REQUIRE(dialled);

  (*dialled)->write(as_bytes("early"));
  (*dialled)->shutdown();
  CHECK((*dialled)->write_queue_bytes() == 5);
  REQUIRE(loop.run_until([&] { return !acceptor.connections.empty(); }));
  acceptor.connections[0]->set_listener(far);

  CHECK(loop.run_until([&] { return far.eof == 1; }));
  CHECK(as_text(far.bytes) == "early");
}

TEST_CASE("tcp: a paused reader makes the writer's queue grow until it resumes", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);
  const ByteBuffer bytes = pattern(16 << 20, 1);

  pair.far.connection->pause_reading();
  pair.near.connection->write(bytes);
  loop.run_turns(20);
  CHECK(pair.far.bytes.empty());
  CHECK(pair.near.connection->write_queue_bytes() > 0);
  CHECK(pair.near.drained == 0);

  pair.far.connection->resume_reading();
  REQUIRE(loop.run_until([&] { return pair.near.drained == 1; }));
  CHECK(pair.near.connection->write_queue_bytes() == 0);
  REQUIRE(loop.run_until([&] { return pair.far.bytes.size() == bytes.size(); }));
  CHECK(pair.far.bytes == bytes);
  CHECK(pair.near.drained == 1);
}

TEST_CASE("tcp: each half ends on its own", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  pair.near.connection->write(pattern(4 << 20, 1));
  pair.near.connection->shutdown();
  pair.near.connection->write(as_bytes("ignored"));
  REQUIRE(loop.run_until([&] { return pair.far.eof == 1; }));
  CHECK(pair.far.bytes.size() == (4 << 20));

  pair.far.connection->write(as_bytes("still open"));
  REQUIRE(loop.run_until([&] { return pair.near.bytes.size() == 10; }));
  pair.far.connection->shutdown();
  REQUIRE(loop.run_until([&] { return pair.near.eof == 1; }));
  CHECK(pair.near.closed.empty());
  CHECK(pair.far.closed.empty());
  CHECK(pair.far.eof == 1);
}

TEST_CASE("tcp: abort is a reset at the other end", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  pair.near.connection->abort();
  pair.near.connection->abort();
  pair.near.connection->write(as_bytes("x"));
  REQUIRE(loop.run_until([&] { return !pair.far.closed.empty(); }));

  CHECK(pair.far.closed[0].code == Errc::kClosed);
  CHECK(pair.far.eof == 0);
  CHECK(pair.near.connection->descriptor() == -1);
  CHECK(pair.near.closed.empty());
}

TEST_CASE("tcp: what arrived before a reset is still delivered", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  pair.far.connection->pause_reading();
  pair.near.connection->write(as_bytes("last words"));
  loop.run_turns();
  pair.far.connection->write(as_bytes("x"));
  pair.near.connection->abort();
  pair.far.connection->resume_reading();
  REQUIRE(loop.run_until([&] { return !pair.far.closed.empty(); }));

  // Linux keeps what was received before the RST.
  CHECK(as_text(pair.far.bytes) == "last words");
}

TEST_CASE("tcp: writing to a peer that has reset ends in on_closed, once", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  pair.far.connection->pause_reading();
  pair.near.connection->abort();
  loop.run_turns();
  for (int i = 0; i < 3; ++i) pair.far.connection->write(as_bytes("x"));
  CHECK(pair.far.closed.empty());

  REQUIRE(loop.run_until([&] { return !pair.far.closed.empty(); }));
  loop.run_turns();
  CHECK(pair.far.closed.size() == 1);
}

TEST_CASE("tcp: a peer that resets while we wait to write, and read nothing, ends in on_closed", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);
  SECTION("after its end of stream") {
    pair.near.connection->shutdown();
    REQUIRE(loop.run_until([&] { return pair.far.eof == 1; }));
  }
  SECTION("paused") { pair.far.connection->pause_reading(); }
  pair.near.connection->pause_reading();
  pair.far.connection->write(pattern(std::size_t{32} << 20, 1));
  loop.run_turns(20);
  REQUIRE(pair.far.connection->write_queue_bytes() > 0);

  pair.near.connection->abort();

  CHECK(loop.run_until([&] { return pair.far.closed.size() == 1; }));
}

TEST_CASE("tcp: at most so many octets are handed over at a time", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);
  std::size_t largest = 0;
  std::size_t before = 0;
  pair.far.on_any = [&] {
    largest = std::max(largest, pair.far.bytes.size() - before);
    before = pair.far.bytes.size();
  };
  pair.far.connection->limit_reads(100);
  const ByteBuffer bytes = pattern(10'000, 1);
  pair.near.connection->write(bytes);
  REQUIRE(loop.run_until([&] { return pair.far.bytes.size() == bytes.size(); }));
  CHECK(largest == 100);
  CHECK(pair.far.bytes == bytes);
}

TEST_CASE("tcp: a refused connection is told from the loop", "[natt][uv]") {
  UvLoop loop;
  TcpAcceptor acceptor(loop);
  acceptor.listener.reset();
  TcpPeer near;

  auto dialled = uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, near);
  REQUIRE(dialled);
  CHECK(near.closed.empty());
  REQUIRE(loop.run_until([&] { return !near.closed.empty(); }));

  CHECK(near.closed[0].code == Errc::kRefused);
  CHECK(near.closed[0].message.find(acceptor.to.to_string()) != std::string::npos);
  CHECK(near.connected == 0);
}

TEST_CASE("tcp: a peer that never answers is a timeout", "[natt][uv]") {
  UvLoop loop;
  // Linux drops SYNs for a full backlog, which is a peer that never answers.
  TcpAcceptor acceptor(loop, {.bind = address("127.0.0.1:0"), .backlog = 0, .accepts_per_turn = 0});
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 4; ++i) {
    peers.push_back(std::make_unique<TcpPeer>());
    auto dialled = uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}, .timeout = 50ms},
                                              *peers.back());
    REQUIRE(dialled);
    peers.back()->connection = std::move(*dialled);
  }

  REQUIRE(loop.run_until([&] { return !peers.back()->closed.empty(); }));
  CHECK(peers.back()->closed[0].code == Errc::kTimeout);
  // Those that fitted in the backlog are connected and are not timed out.
  CHECK(peers.front()->connected == 1);
  CHECK(peers.front()->closed.empty());
}

TEST_CASE("tcp: a source address that is not ours is an error at once", "[natt][uv]") {
  UvLoop loop;
  TcpPeer near;

  const auto dialled = uv::TcpConnection::connect(
      loop.get(), {.to = address("127.0.0.1:9"), .from = address("203.0.113.77:1").ip}, near);

  REQUIRE_FALSE(dialled);
  CHECK(dialled.error().code == Errc::kUnavailable);
}

TEST_CASE("tcp: a released descriptor is a working socket of somebody else's", "[natt][uv]") {
  UvLoop loop;
  TcpPair pair(loop);

  const int fd = pair.far.connection->release_descriptor();
  REQUIRE(fd >= 0);
  pair.near.connection->write(as_bytes("hello"));
  loop.run_turns();

  std::array<char, 16> got{};
  CHECK(::recv(fd, got.data(), got.size(), 0) == 5);
  CHECK(pair.far.bytes.empty());
  CHECK(pair.far.connection->descriptor() == -1);
  ::close(fd);
  CHECK(loop.run_until([&] { return pair.near.eof == 1; }));
}

TEST_CASE("tcp: destroying a connection is boring in each of its callbacks", "[natt][uv]") {
  UvLoop loop;

  SECTION("on_connected") {
    TcpAcceptor acceptor(loop);
    TcpPeer near;
    near.on_any = [&] { near.connection.reset(); };
    near.connection = std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, near));
    CHECK(loop.run_until([&] { return near.connection == nullptr; }));
    CHECK(near.connected == 1);
  }
  SECTION("while connecting") {
    TcpAcceptor acceptor(loop);
    TcpPeer near;
    near.connection = std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, near));
    near.connection.reset();
    loop.run_turns();
    CHECK(near.connected == 0);
  }
  SECTION("on_bytes, with more waiting") {
    TcpPair pair(loop);
    pair.far.on_any = [&] { pair.far.connection.reset(); };
    pair.near.connection->write(pattern(1 << 20, 1));
    CHECK(loop.run_until([&] { return pair.far.connection == nullptr; }));
    CHECK(pair.far.closed.empty());
  }
  SECTION("on_bytes, by abort") {
    TcpPair pair(loop);
    pair.far.on_any = [&] { pair.far.connection->abort(); };
    pair.near.connection->write(pattern(1 << 20, 1));
    CHECK(loop.run_until([&] { return !pair.near.closed.empty(); }));
  }
  SECTION("on_eof") {
    TcpPair pair(loop);
    pair.far.on_any = [&] { pair.far.connection.reset(); };
    pair.near.connection->shutdown();
    CHECK(loop.run_until([&] { return pair.far.connection == nullptr; }));
  }
  SECTION("on_drained") {
    TcpPair pair(loop);
    pair.near.on_any = [&] { pair.near.connection.reset(); };
    pair.near.connection->write(pattern(16 << 20, 1));
    CHECK(loop.run_until([&] { return pair.near.connection == nullptr; }));
    CHECK(pair.near.drained == 1);
  }
  SECTION("on_closed") {
    TcpPair pair(loop);
    pair.far.on_any = [&] { pair.far.connection.reset(); };
    pair.near.connection->abort();
    CHECK(loop.run_until([&] { return pair.far.connection == nullptr; }));
  }
  SECTION("with a full write queue") {
    TcpPair pair(loop);
    pair.near.connection->write(pattern(16 << 20, 1));
    pair.near.connection.reset();
    loop.run_turns();
    CHECK(pair.near.drained == 0);
  }
}
