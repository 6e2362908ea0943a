// SPDX-License-Identifier: Apache-2.0
// What is left of a tunnel over TLS once it is over, when its client reads nothing.
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "integration/loopback_site.h"
#include "integration/tls_peers.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

// More than the kernel's buffers and the gateway's own take together.
constexpr std::size_t kPlenty = 24 << 20;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

struct Site {
  LoopbackSite site{LoopbackSite::Options{.protocol = tunnel::TunnelProtocol::kTls}};
  UvLoop& loop = site.loop;
  std::unique_ptr<spa::Knocker> knocker;

  Site() {
    site.open_broker();
    site.open_gateway();
    knocker = site.make_knocker("alice", Role::kGateway, "gw1");
  }
  [[nodiscard]] auto connections() const { return site.gateway->connections(); }
  [[nodiscard]] std::unique_ptr<TlsPeer> make_glutton();
};

// A client that has asked the echo service for more than it will ever read.
std::unique_ptr<TlsPeer> Site::make_glutton() {
  const Identity gateway{"hq", Role::kGateway, "gw1"};
  auto peer = std::make_unique<TlsPeer>(loop, site.client_credentials("alice"), gateway);
  peer->connect(site.gateway->local_address(), *knocker);
  REQUIRE(loop.run_until([&] { return peer->confirmed; }));
  peer->open(tunnel::Authority::of(site.echo->address()));
  peer->send(as_bytes("x"));
  REQUIRE(loop.run_until([&] { return peer->received == "x"; }));
  peer->pause();
  const ByteBuffer plenty(kPlenty, 'a');
  peer->send(plenty);
  // Until the gateway can say no more to anyone.
  std::uint64_t said = 0;
  Instant since = uv::now();
  const auto is_stuck = [&] {
    std::uint64_t out = 0;
    for (const auto& each : connections()) out += each.stats.bytes_out;
    if (out != std::exchange(said, out)) since = uv::now();
    return out > 0 && uv::now() - since > 300ms;
  };
  REQUIRE(loop.run_until(is_stuck, 10'000));
  return peer;
}

}  // namespace

TEST_CASE("tls farewell: a revoked client that reads nothing is reset within the closing time", "[natt][tls]") {
  Site site;
  const auto peer = site.make_glutton();
  const std::size_t before = open_descriptors();

  site.site.revoke(Role::kClient, "alice");
  REQUIRE(site.loop.run_until([&] { return site.connections().empty(); }));
  static_cast<void>(site.loop.run_until([] { return false; }, 1500));
  // The gateway's end of the connection, and what it had dialled.
  CHECK(open_descriptors() <= before - 2);
  peer->resume();
  CHECK(site.loop.run_until([&] { return peer->ended.has_value(); }));
}

TEST_CASE("tls farewell: tunnels that end while their client reads nothing leave no descriptors", "[natt][tls]") {
  Site site;
  std::vector<std::unique_ptr<TlsPeer>> gluttons;
  for (int i = 0; i < 4; ++i) gluttons.push_back(site.make_glutton());
  const std::size_t before = open_descriptors();

  site.site.gateway->close(uv::now(), "test");
  static_cast<void>(site.loop.run_until([] { return false; }, 1500));
  // Of each tunnel the gateway had two sockets; the clients and the echo service are free to keep theirs.
  CHECK(open_descriptors() <= before - 2 * gluttons.size());
}
