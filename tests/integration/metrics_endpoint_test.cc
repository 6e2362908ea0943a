// SPDX-License-Identifier: Apache-2.0
// [metrics] listen while other programs have the port.
#include "apps/metrics/metrics_endpoint.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "integration/uv_loop.h"

namespace natt::metrics {
namespace {

using test::UvLoop;

struct World {
  // Another program with a port of its own.
  std::unique_ptr<MetricsServer> stranger(const std::string& address) {
    auto opened = MetricsServer::open(loop.get(), *SocketAddress::parse(address), [] { return std::string(); });
    REQUIRE(opened);
    return std::move(*opened);
  }
  void serve(const std::string& address) { endpoint.serve({.listen = SocketAddress::parse(address)}); }
  [[nodiscard]] std::string served() const {
    return endpoint.address() ? endpoint.address()->to_string() : std::string();
  }
  [[nodiscard]] control::Health health() const {
    control::Health health;
    endpoint.add_health(health);
    return health;
  }
  [[nodiscard]] bool is_served() const {
    const auto checks = health().checks;
    const auto found = std::find_if(checks.begin(), checks.end(),
                                    [](const auto& check) { return check.first == "metrics_served"; });
    REQUIRE(found != checks.end());
    return found->second;
  }
  [[nodiscard]] long lines(const std::string& of) const {
    return std::count_if(log.begin(), log.end(), [&of](const std::string& line) { return line.starts_with(of); });
  }

  UvLoop loop;
  std::vector<std::string> log;
  MetricsEndpoint endpoint{loop.get(), [] { return control::Status{}; },
                           LogSink{[](void* to, LogLevel, std::string_view line) {
                                     static_cast<std::vector<std::string>*>(to)->emplace_back(line);
                                   },
                                   &log},
                           std::chrono::milliseconds(20)};
};

TEST_CASE("metrics endpoint: a port that is taken at the start is a warning, and is had as soon as it is free",
          "[metrics]") {
  World world;
  auto stranger = world.stranger("127.0.0.1:0");
  const std::string wanted = stranger->local_address().to_string();
  world.serve(wanted);
  CHECK(world.served().empty());
  CHECK_FALSE(world.is_served());
  CHECK(world.health().status == control::HealthStatus::kWarning);
  // However often it is tried, it is said once.
  CHECK_FALSE(world.loop.run_until([&] { return world.is_served(); }, 100));
  CHECK(world.lines("natt.metrics.not_served") == 1);
  stranger.reset();
  CHECK(world.loop.run_until([&] { return world.is_served(); }));
  CHECK(world.served() == wanted);
  CHECK(world.health().status == control::HealthStatus::kHealthy);
}

TEST_CASE("metrics endpoint: a move that fails leaves the old port open all the time, and is made later", "[metrics]") {
  World world;
  auto place = world.stranger("127.0.0.1:0");
  const std::string old = place->local_address().to_string();
  place.reset();
  world.serve(old);
  auto stranger = world.stranger("127.0.0.1:0");
  const std::string wanted = stranger->local_address().to_string();
  world.serve(wanted);
  CHECK(world.served() == old);
  CHECK_FALSE(world.is_served());
  CHECK(world.lines("natt.metrics.not_moved") == 1);
  // The old one was never given up: it is announced once.
  CHECK(world.lines("natt.metrics.listening") == 1);
  stranger.reset();
  CHECK(world.loop.run_until([&] { return world.served() == wanted; }));
  CHECK(world.is_served());
}

TEST_CASE("metrics endpoint: the same port on another address is moved to", "[metrics]") {
  World world;
  auto place = world.stranger("127.0.0.1:0");
  const std::uint16_t port = place->local_address().port;
  place.reset();
  world.serve("127.0.0.1:" + std::to_string(port));
  world.serve("0.0.0.0:" + std::to_string(port));
  CHECK(world.served() == "0.0.0.0:" + std::to_string(port));
  CHECK(world.is_served());
}

TEST_CASE("metrics endpoint: the same port on an address that is not had goes back to the old one", "[metrics]") {
  World world;
  auto stranger = world.stranger("127.0.0.2:0");
  const std::string port = std::to_string(stranger->local_address().port);
  world.serve("127.0.0.1:" + port);
  REQUIRE(world.is_served());
  world.serve("0.0.0.0:" + port);
  CHECK(world.served() == "127.0.0.1:" + port);
  CHECK_FALSE(world.is_served());
  CHECK(world.lines("natt.metrics.not_moved") == 1);
  CHECK(world.lines("natt.metrics.lost") == 0);
}

// Holds a port without listening, and whether others may listen there as well.
class IdleHolder {
 public:
  IdleHolder() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    share(true);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  ~IdleHolder() { ::close(socket_); }
  IdleHolder(const IdleHolder&) = delete;
  IdleHolder& operator=(const IdleHolder&) = delete;

  void share(bool shared) {
    const int on = shared ? 1 : 0;
    REQUIRE(::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
  }
  [[nodiscard]] const std::string& port() const { return port_; }

 private:
  int socket_;
  std::string port_;
};

TEST_CASE("metrics endpoint: an old address that is taken in a move is lost and said to be, and the new one tried",
          "[metrics]") {
  World world;
  auto holder = std::make_optional<IdleHolder>();
  const std::string old = "127.0.0.1:" + holder->port();
  const std::string wanted = "0.0.0.0:" + holder->port();
  auto stranger = world.stranger("127.0.0.2:" + holder->port());
  world.serve(old);
  REQUIRE(world.served() == old);

  holder->share(false);  // from now on nobody else gets it
  world.serve(wanted);
  CHECK(world.served().empty());
  CHECK_FALSE(world.is_served());
  CHECK(world.health().status == control::HealthStatus::kWarning);
  CHECK(world.health().details.at(0).find("nothing is served") != std::string::npos);
  // However often the new one is tried, both are said once.
  CHECK_FALSE(world.loop.run_until([&] { return world.is_served(); }, 100));
  CHECK(world.lines("natt.metrics.lost reason=\"[metrics] listen: ") == 1);
  CHECK(world.lines("natt.metrics.not_served") == 1);

  stranger.reset();
  holder.reset();
  CHECK(world.loop.run_until([&] { return world.is_served(); }));
  CHECK(world.served() == wanted);
  // What was lost is not gone back to.
  CHECK(world.lines("natt.metrics.lost") == 1);
}

TEST_CASE("metrics endpoint: without an address nothing is served, checked or tried", "[metrics]") {
  World world;
  auto stranger = world.stranger("127.0.0.1:0");
  world.serve(stranger->local_address().to_string());
  world.endpoint.serve({});
  stranger.reset();
  CHECK_FALSE(world.loop.run_until([&] { return !world.served().empty(); }, 60));
  CHECK(world.health().checks.empty());
}

}  // namespace
}  // namespace natt::metrics
