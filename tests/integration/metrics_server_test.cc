// SPDX-License-Identifier: Apache-2.0
// The metrics port against peers that mean harm or are only slow.
#include "apps/metrics/metrics_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "integration/uv_loop.h"

namespace natt::metrics {
namespace {

using test::UvLoop;

constexpr std::string_view kGet = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

// A client that never blocks the loop it shares a thread with.
class Peer {
 public:
  explicit Peer(const SocketAddress& to, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer != 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  bool send(std::string_view text) const {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  void finish() const { ::shutdown(fd_, SHUT_WR); }
  void reset() const {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  // Takes what is there. False once the server has hung up; an orderly end and a reset are told apart.
  bool read() {
    char chunk[65536];
    for (;;) {
      const ssize_t got = ::recv(fd_, chunk, sizeof chunk, 0);
      if (got > 0) {
        received_.append(chunk, static_cast<std::size_t>(got));
      } else {
        was_reset_ = got < 0 && errno == ECONNRESET;
        return got < 0 && errno == EAGAIN;
      }
    }
  }
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] bool was_reset() const { return was_reset_; }

 private:
  int fd_;
  std::string received_;
  bool was_reset_ = false;
};

struct World {
  explicit World(std::string text = "natt 1\n", Duration deadline = std::chrono::milliseconds(300))
      : page(std::move(text)) {
    auto opened = MetricsServer::open(
        loop.get(), *SocketAddress::parse("127.0.0.1:0"),
        [this] {
          ++pages;
          return page;
        },
        deadline);
    REQUIRE(opened);
    server = std::move(*opened);
  }
  // Everything the server says until it hangs up.
  std::string end_of(Peer& peer) {
    REQUIRE(loop.run_until([&] {
      loop.run_turns(1);
      return !peer.read();
    }));
    return peer.received();
  }
  std::string ask(std::string_view request) {
    Peer peer(server->local_address());
    REQUIRE(peer.send(request));
    peer.finish();
    std::string answer = end_of(peer);
    REQUIRE(loop.run_until([&] { return server->connection_count() == 0; }));
    return answer;
  }
  [[nodiscard]] std::uint64_t count(RequestResult result) const { return server->stats().count(result); }

  UvLoop loop;
  std::string page;
  int pages = 0;
  std::unique_ptr<MetricsServer> server;
};

TEST_CASE("metrics server: GET gets the page and HEAD its length", "[metrics]") {
  World world;
  const std::string get = world.ask(kGet);
  CHECK(get.starts_with(
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 7\r\n"));
  CHECK(get.ends_with("\r\n\r\nnatt 1\n"));
  const std::string head = world.ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(get == head + "natt 1\n");
  CHECK(world.count(RequestResult::kServed) == 2);
}

TEST_CASE("metrics server: a thousand requests in a row cost the loop a few pages", "[metrics]") {
  World world;
  const Instant start = uv::now();
  for (int i = 0; i < 1000; ++i) REQUIRE(world.ask(kGet).ends_with("natt 1\n"));
  CHECK(world.count(RequestResult::kServed) == 1000);
  CHECK(world.pages <= 1 + (uv::now() - start) / MetricsServer::kTextLasts);
  // And what they get is never older than that.
  const int before = world.pages;
  world.page = "natt 2\n";
  const Instant changed = uv::now();
  while (!world.ask(kGet).ends_with("natt 2\n")) {
    REQUIRE(uv::now() - changed < MetricsServer::kTextLasts + std::chrono::seconds(1));
  }
  CHECK(world.pages == before + 1);
}

TEST_CASE("metrics server: on loopback a name that somebody's DNS led here is refused", "[metrics]") {
  World world;
  const auto ask = [&world](const std::string& host) {
    return world.ask("GET /metrics HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
  };
  for (const char* name : {"evil.example", "evil.example:9464", "localhost.evil.example", ""}) {
    CHECK(ask(name).starts_with("HTTP/1.1 421 "));
  }
  CHECK(world.count(RequestResult::kMisdirected) == 4);
  CHECK(world.pages == 0);
  CHECK(ask("127.0.0.1:9464").starts_with("HTTP/1.1 200 "));
  CHECK(ask("[::1]").starts_with("HTTP/1.1 200 "));
  CHECK(world.ask("GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
  CHECK(world.ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

TEST_CASE("metrics server: where other hosts come, they come by any name", "[metrics]") {
  UvLoop loop;
  auto server = MetricsServer::open(loop.get(), *SocketAddress::parse("0.0.0.0:0"), [] { return "natt 1\n"; });
  REQUIRE(server);
  Peer peer((*server)->local_address());
  REQUIRE(peer.send("GET /metrics HTTP/1.1\r\nHost: broker.example\r\n\r\n"));
  REQUIRE(loop.run_until([&] {
    loop.run_turns(1);
    return !peer.read() || peer.received().ends_with("natt 1\n");
  }));
  CHECK(peer.received().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("metrics server: everything else is refused without making the page", "[metrics]") {
  World world;
  CHECK(world.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 404 "));
  CHECK(world.ask("GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 404 "));
  CHECK(world.ask("GET /../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 404 "));
  CHECK(world.ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").find("\r\nAllow: GET, HEAD\r\n") != std::string::npos);
  CHECK(world.ask("\x16\x03\x01 garbage\r\n\r\n").starts_with("HTTP/1.1 400 "));
  CHECK(world.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").starts_with("HTTP/1.1 505 "));
  CHECK(world.ask("GET /metrics HTTP/1.1\r\nA: " + std::string(20000, 'a')).starts_with("HTTP/1.1 431 "));
  CHECK(world.count(RequestResult::kNotFound) == 3);
  CHECK(world.count(RequestResult::kMethodNotAllowed) == 1);
  CHECK(world.count(RequestResult::kBadRequest) == 1);
  CHECK(world.count(RequestResult::kVersionNotSupported) == 1);
  CHECK(world.count(RequestResult::kHeadTooLarge) == 1);
  CHECK(world.pages == 0);
}

TEST_CASE("metrics server: a second request on the same connection is not answered", "[metrics]") {
  World world;
  const std::string answer = world.ask(std::string(kGet) + std::string(kGet) + std::string(kGet));
  CHECK(answer.find("HTTP/1.1", 1) == std::string::npos);
  CHECK(world.pages == 1);
}

TEST_CASE("metrics server: what comes behind a request does not destroy the answer", "[metrics]") {
  World world(std::string(300'000, 'x'));
  Peer peer(world.server->local_address());
  REQUIRE(peer.send(std::string(kGet) + std::string(50'000, 'y')));
  peer.finish();
  CHECK(world.end_of(peer).ends_with(std::string(300'000, 'x')));
  CHECK_FALSE(peer.was_reset());
}

TEST_CASE("metrics server: who sends without end is cut off", "[metrics]") {
  World world("natt 1\n", std::chrono::seconds(60));
  Peer peer(world.server->local_address());
  REQUIRE(peer.send(kGet));
  REQUIRE(world.loop.run_until([&] { return world.pages == 1; }));
  CHECK(world.loop.run_until([&] {
    peer.send(std::string(16'384, 'y'));
    return world.server->connection_count() == 0;
  }));
}

TEST_CASE("metrics server: a half-closed connection gets its answer, one without a request is let go", "[metrics]") {
  World world;
  CHECK(world.ask(kGet).ends_with("natt 1\n"));  // ask() finishes before it reads
  CHECK(world.ask("GET /metrics HTTP/1.1\r\n").empty());
  CHECK(world.ask("").empty());
  CHECK(world.count(RequestResult::kAbandoned) == 2);
}

TEST_CASE("metrics server: an octet now and then does not win time", "[metrics]") {
  World world;
  Peer peer(world.server->local_address());
  std::size_t sent = 0;
  CHECK(world.loop.run_until([&] {
    if (sent < 20 && peer.send(kGet.substr(sent, 1))) ++sent;
    world.loop.run_turns(1);
    return !peer.read();
  }));
  CHECK(peer.received().empty());
  CHECK(world.count(RequestResult::kTimedOut) == 1);
  CHECK(world.server->connection_count() == 0);
}

TEST_CASE("metrics server: who does not read is let go when its time is over", "[metrics]") {
  World world(std::string(16 << 20, 'x'));
  Peer peer(world.server->local_address(), 4096);
  REQUIRE(peer.send(kGet));
  REQUIRE(world.loop.run_until([&] { return world.pages == 1; }));
  CHECK(world.loop.run_until([&] { return world.server->connection_count() == 0; }));
  CHECK_FALSE(peer.read());
  CHECK(peer.received().size() < world.page.size());
}

TEST_CASE("metrics server: one connection too many ends the oldest that has not asked", "[metrics]") {
  World world("natt 1\n", std::chrono::seconds(60));
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::size_t i = 0; i < MetricsServer::kMaxConnections; ++i) {
    peers.push_back(std::make_unique<Peer>(world.server->local_address()));
  }
  REQUIRE(world.loop.run_until([&] { return world.server->connection_count() == MetricsServer::kMaxConnections; }));
  Peer scraper(world.server->local_address());
  REQUIRE(scraper.send(kGet));
  CHECK(world.end_of(scraper).ends_with("natt 1\n"));
  CHECK(world.count(RequestResult::kPushedOut) == 1);
  CHECK_FALSE(peers[0]->read());
  CHECK(peers[1]->read());
}

TEST_CASE("metrics server: who has asked is answered, however many come in the same turn", "[metrics]") {
  World world("natt 1\n", std::chrono::seconds(60));
  Peer scraper(world.server->local_address());
  REQUIRE(scraper.send(kGet));
  // With the scraper all that the kernel's queue takes: one more than its backlog.
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::size_t i = 0; i < MetricsServer::kMaxConnections; ++i) {
    peers.push_back(std::make_unique<Peer>(world.server->local_address()));
  }
  CHECK(world.end_of(scraper).ends_with("natt 1\n"));
  CHECK(world.count(RequestResult::kServed) == 1);
}

TEST_CASE("metrics server: a flood of connections never holds more than its eight", "[metrics]") {
  World world;
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<Peer>(world.server->local_address()));
    peers.back()->send("GET /");
    world.loop.run_turns(2);
    REQUIRE(world.server->connection_count() <= MetricsServer::kMaxConnections);
  }
  CHECK(world.ask(kGet).ends_with("natt 1\n"));
}

TEST_CASE("metrics server: resets at any moment leave nothing behind", "[metrics]") {
  World world(std::string(1 << 20, 'x'), std::chrono::seconds(60));
  for (std::size_t size = 0; size <= kGet.size(); ++size) {
    {
      Peer peer(world.server->local_address());
      peer.send(kGet.substr(0, size));
      world.loop.run_turns(2);
      peer.reset();
    }
    REQUIRE(world.loop.run_until([&] { return world.server->connection_count() == 0; }));
  }
}

TEST_CASE("metrics server: it goes with its connections, and its port is free", "[metrics]") {
  World world;
  Peer peer(world.server->local_address());
  REQUIRE(world.loop.run_until([&] { return world.server->connection_count() == 1; }));
  const SocketAddress address = world.server->local_address();
  world.server.reset();
  CHECK_FALSE(peer.read());
  auto again = MetricsServer::open(world.loop.get(), address, [] { return std::string(); });
  CHECK(again);
  const auto taken = MetricsServer::open(world.loop.get(), address, [] { return std::string(); });
  REQUIRE_FALSE(taken);
  CHECK(taken.error().message.find(address.to_string()) != std::string::npos);
}

}  // namespace
}  // namespace natt::metrics
