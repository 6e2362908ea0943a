// SPDX-License-Identifier: Apache-2.0
// Connections whose first flight is in the SYN, against this kernel, over loopback.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>
#include <vector>

#include <natt/errc.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/tcp_race.h>

#include "integration/private_network.h"
#include "integration/uv_loop.h"
#include "support/pattern.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

SocketAddress loopback(std::uint16_t port) { return {IpAddress::v4({127, 0, 0, 1}), port}; }

// What arrives on one connection.
struct Arrived final : uv::TcpConnection::Listener {
  ByteBuffer bytes;
  bool over = false;
  void on_connected(Instant) override {}
  void on_bytes(Instant, ByteView more) override { bytes.insert(bytes.end(), more.begin(), more.end()); }
  void on_eof(Instant) override { over = true; }
  void on_drained(Instant) override {}
  void on_closed(Instant, const Error&) override { over = true; }
};

struct Acceptor final : uv::TcpListener::Listener {
  explicit Acceptor(UvLoop& loop) {
    auto opened = uv::TcpListener::open(loop.get(), {.bind = loopback(0)}, *this);
    REQUIRE(opened);
    listener = std::move(*opened);
  }
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    arrived.push_back(std::make_unique<Arrived>());
    connection->set_listener(*arrived.back());
    connections.push_back(std::move(connection));
  }
  [[nodiscard]] SocketAddress address() const { return listener->local_address(); }
  std::unique_ptr<uv::TcpListener> listener;
  std::vector<std::unique_ptr<uv::TcpConnection>> connections;
  std::vector<std::unique_ptr<Arrived>> arrived;
};

struct Racer final : uv::TcpRace::Listener {
  explicit Racer(UvLoop& loop) : race(std::make_unique<uv::TcpRace>(loop.get(), *this)) {}
  ByteBuffer make_first_flight() override { return pattern(flight_size, ++flights); }
  void on_race_won(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    won = std::move(connection);
    won->set_listener(answers);
    race.reset();
  }
  void on_race_lost(Instant, const Error& error) override {
    lost = error;
    race.reset();
  }
  std::size_t flight_size = 500;
  std::uint8_t flights = 0;
  std::unique_ptr<uv::TcpConnection> won;
  std::optional<Error> lost;
  Arrived answers;
  std::unique_ptr<uv::TcpRace> race;
};

// Octets that came in the SYN, as the accepting kernel counts them (TCPI_OPT_SYN_DATA, Linux 4.x).
bool had_syn_data(const uv::TcpConnection& accepted) {
  tcp_info info{};
  socklen_t length = sizeof info;
  REQUIRE(::getsockopt(accepted.descriptor(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

}  // namespace

TEST_CASE("tcp race: the first flight arrives once and whole, whatever its size", "[natt][uv][door]") {
  const std::size_t size = GENERATE(1u, 500u, 2200u, 70'000u);
  CAPTURE(size);
  UvLoop loop;
  Acceptor acceptor(loop);
  Racer racer(loop);
  racer.flight_size = size;

  racer.race->start(uv::now(), acceptor.address());

  REQUIRE(loop.run_until(
      [&] { return racer.won && !acceptor.arrived.empty() && acceptor.arrived[0]->bytes.size() >= size; }));
  loop.run_turns(10);
  CHECK(acceptor.arrived[0]->bytes == pattern(size, 1));
  racer.won->write(as_bytes("more"));
  acceptor.connections[0]->write(as_bytes("answer"));
  CHECK(
      loop.run_until([&] { return acceptor.arrived[0]->bytes.size() == size + 4 && racer.answers.bytes.size() == 6; }));
  // Nobody was slow: one connection was enough.
  CHECK(racer.flights == 1);
  CHECK(acceptor.connections.size() == 1);
}

TEST_CASE("tcp race: a listener with Fast Open has the flight from the SYN itself", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  REQUIRE(test::run("ip link set lo up"));
  // Client and server, and no cookie asked for (Documentation/networking/ip-sysctl: 0x1 | 0x2 | 0x200).
  std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << 0x203;
  UvLoop loop;
  Acceptor acceptor(loop);
  const int queue = 16;
  REQUIRE(::setsockopt(acceptor.listener->descriptor(), IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue) == 0);
  Racer racer(loop);

  racer.race->start(uv::now(), acceptor.address());

  REQUIRE(loop.run_until(
      [&] { return racer.won && !acceptor.arrived.empty() && acceptor.arrived[0]->bytes.size() == 500; }));
  CHECK(had_syn_data(*acceptor.connections[0]));
}

TEST_CASE("tcp race: a kernel that sends no data in SYNs connects all the same", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  REQUIRE(test::run("ip link set lo up"));
  std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << 0;
  UvLoop loop;
  Acceptor acceptor(loop);
  Racer racer(loop);

  racer.race->start(uv::now(), acceptor.address());

  REQUIRE(loop.run_until(
      [&] { return racer.won && !acceptor.arrived.empty() && acceptor.arrived[0]->bytes.size() == 500; }));
  CHECK(acceptor.arrived[0]->bytes == pattern(500, 1));
  CHECK_FALSE(had_syn_data(*acceptor.connections[0]));
}

TEST_CASE("tcp race: where nothing listens it is lost as soon as both kinds are refused", "[natt][uv][door]") {
  UvLoop loop;
  std::uint16_t port = 0;
  {
    Acceptor gone(loop);
    port = gone.address().port;
  }
  loop.run_turns();
  Racer racer(loop);
  const Instant start = uv::now();

  racer.race->start(start, loopback(port));

  REQUIRE(loop.run_until([&] { return racer.lost.has_value(); }));
  CHECK(racer.lost->code == make_error_code(Errc::kRefused));
  CHECK(uv::now() - start < 700ms);
  CHECK(racer.flights == 4);  // 0, 100, 200 ms in the SYN, and the plain one
}

TEST_CASE("tcp race: an address without a route is told from the loop, at once", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  UvLoop loop;
  Racer racer(loop);
  racer.race->start(uv::now(), *SocketAddress::parse("192.0.2.1:443"));
  CHECK_FALSE(racer.lost);
  REQUIRE(loop.run_until([&] { return racer.lost.has_value(); }, 500));
  CHECK(racer.lost->code == make_error_code(Errc::kUnavailable));
}

TEST_CASE("tcp race: silence is met with further connections", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  // A listener that is not there for anybody.
  REQUIRE(
      test::run("ip link set lo up && nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; "
                "add rule ip t in tcp dport 443 drop'"));
  UvLoop loop;
  Racer racer(loop);
  const Instant start = uv::now();
  racer.race->start(start, loopback(443));
  // How it ends is ConnectSchedule's business, and tested in virtual time.
  REQUIRE(loop.run_until([&] { return racer.flights == 5; }));
  CHECK(uv::now() - start >= 400ms);
  CHECK_FALSE(racer.lost);
}

TEST_CASE("tcp race: destroying it at any time is boring", "[natt][uv][door]") {
  UvLoop loop;
  Acceptor acceptor(loop);
  {
    Racer racer(loop);
    racer.race->start(uv::now(), acceptor.address());
  }
  Racer racer(loop);
  racer.race->start(uv::now(), acceptor.address());
  loop.run_turns(1);
  racer.race.reset();
  loop.run_turns(10);
  CHECK_FALSE(racer.lost);
}

TEST_CASE("tcp race: without a first flight there is no attempt", "[natt][uv][door]") {
  UvLoop loop;
  Acceptor acceptor(loop);
  Racer racer(loop);
  racer.flight_size = 0;
  racer.race->start(uv::now(), acceptor.address());
  REQUIRE(loop.run_until([&] { return racer.lost.has_value(); }));
  loop.run_turns(5);
  CHECK(acceptor.connections.empty());
}
