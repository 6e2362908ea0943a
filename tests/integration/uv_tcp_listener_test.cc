// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "integration/tcp_pair.h"

using namespace natt;
using namespace natt::test;

TEST_CASE("tcp listener: takes at most so many connections per turn", "[natt][uv]") {
  UvLoop loop;
  TcpAcceptor acceptor(loop, {.bind = address("[::]:0"), .accepts_per_turn = 2});
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 7; ++i) {
    peers.push_back(std::make_unique<TcpPeer>());
    peers.back()->connection =
        std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, *peers.back()));
  }

  loop.run_turns(1);
  CHECK(acceptor.connections.size() <= 2);
  CHECK(loop.run_until([&] { return acceptor.connections.size() == 7; }));
  CHECK(acceptor.listener->stats().accepted == 7);
}

TEST_CASE("tcp listener: running out of descriptors refuses connections and recovers", "[natt][uv]") {
  UvLoop loop;
  TcpAcceptor acceptor(loop);
  TcpPeer refused, later;
  refused.connection =
      std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, refused));
  // No further descriptor: the limit is the next free number.
  const int next = ::dup(0);
  ::close(next);
  rlimit saved{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &saved) == 0);
  rlimit tight{static_cast<rlim_t>(next), saved.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);

  const bool noticed = loop.run_until([&] { return refused.eof + static_cast<int>(refused.closed.size()) > 0; });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &saved) == 0);
  CHECK(noticed);
  CHECK(acceptor.connections.empty());
  CHECK(acceptor.listener->stats().failed >= 1);

  later.connection = std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, later));
  CHECK(loop.run_until([&] { return acceptor.connections.size() == 1; }));
}

TEST_CASE("tcp listener: destroying it frees the port, also from its own callback", "[natt][uv]") {
  UvLoop loop;
  TcpAcceptor acceptor(loop);
  TcpPeer first, second;
  acceptor.on_any = [&] { acceptor.listener.reset(); };
  first.connection = std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, first));
  second.connection = std::move(*uv::TcpConnection::connect(loop.get(), {.to = acceptor.to, .from = {}}, second));

  REQUIRE(loop.run_until([&] { return acceptor.listener == nullptr; }));
  loop.run_turns();
  CHECK(acceptor.connections.size() == 1);
  CHECK(uv::TcpListener::open(loop.get(), {.bind = {address("[::]:0").ip, acceptor.to.port}}, acceptor));
}
