// SPDX-License-Identifier: Apache-2.0
// Sockets that the kernel gate is not put on: they are served without it.
#include <natt/uv/endpoint_driver.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/spa/errc.h>
#include <natt/spa/udp_carrier.h>

#include "src/uv/broker/broker_udp.h"
#include "tests/integration/private_network.h"
#include "tests/integration/uv_loop.h"
#include "tests/support/idle_gate.h"
#include "tests/unit/spa/spa_site.h"

using namespace natt;

namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

class RefusingGate final : public test::IdleGate {
 public:
  Result<void> attach(int, spa::GateSocket) override {
    ++asked;
    return fail(spa::Errc::kUnavailable, "no room");
  }

  int asked = 0;
};

struct Quiet final : KnockListener {
  void on_knock(Instant, const spa::Grant&, const SocketAddress&) override {}
};

struct Knocks final : uv::EndpointDriver::Listener {
  int heard = 0;
  bool admits_new_path(Instant, const SocketAddress&, ByteView) override { return false; }
  void on_tunnel_packet(Instant, PathId, std::uint8_t, ByteView) override {}
  void on_knock(Instant, const SocketAddress&, ByteView) override { ++heard; }
  void on_endpoint_event(Instant, const EndpointEvent&) override {}
  void on_flush(Instant) override {}
};

struct Nothing final : uv::UdpSocket::Listener {
  void on_train(Instant, const uv::ReceivedTrain&) override {}
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
};

struct World {
  test::PrivateNetwork network;
  test::SeededRandom random{test::test_seed()};
  test::UvLoop loop;
  RefusingGate gate;
  World() {
    REQUIRE(network.entered());
    REQUIRE(test::run("ip link set lo up"));
  }
};

}  // namespace

TEST_CASE("refused gate: a broker opens its UDP ports without", "[natt][broker][gate]") {
  World world;
  StunServer stun{{.transaction_key = StunTransactionKey(world.random.bytes<16>()),
                   .primary_port = 443,
                   .alternate_port = 53,
                   .max_credentials = 4}};
  RelayServer relay{{}, RelayKey(world.random.bytes<RelayKey::kSize>()), world.random};
  spa::VerifierGroup verifiers;
  Quiet quiet;
  const auto opened = uv::BrokerUdp::open(
      world.loop.get(), {.address = kLoopback, .dns_suffixes = {}, .knocks = &quiet, .gate = &world.gate}, stun, relay,
      verifiers);
  REQUIRE(opened);
  CHECK(world.gate.asked == 2);
  CHECK((*opened)->port() == 443);
}

TEST_CASE("refused gate: an endpoint opens without and hears knocks", "[natt][gate]") {
  World world;
  Knocks knocks;
  const auto opened = uv::EndpointDriver::open(
      world.loop.get(), {.bind = {kLoopback, 0}, .endpoint = {}, .gate = &world.gate}, world.random, knocks);
  REQUIRE(opened);
  CHECK(world.gate.asked == 1);
  Nothing nothing;
  const auto client = uv::UdpSocket::open(world.loop.get(), {.bind = {kLoopback, 0}}, nothing);
  REQUIRE(client);
  (*client)->send(Transmit{.to = (*opened)->local_address(),
                           .from = {},
                           .bytes = spa::make_udp_carrier(world.random.bytes<spa::kFrameSize>())});
  CHECK(world.loop.run_until([&] { return knocks.heard == 1; }));
}
