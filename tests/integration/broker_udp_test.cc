// SPDX-License-Identifier: Apache-2.0
// A broker's two UDP ports on the loopback of a network namespace: who is heard of, and
// that nobody is answered.
#include "src/uv/broker/broker_udp.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/integration/private_network.h"
#include "tests/integration/uv_loop.h"
#include "tests/unit/spa/spa_site.h"

using namespace natt;

namespace {

constexpr std::uint16_t kDnsPort = 53;
const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

struct Heard final : KnockListener {
  struct Knock {
    std::string device;
    spa::Transport transport;
    std::uint16_t knock_id;
    SocketAddress source;
  };
  std::vector<Knock> knocks;
  void on_knock(Instant, const spa::Grant& grant, const SocketAddress& source) override {
    knocks.push_back({grant.identity->name, grant.transport, grant.knock_id, source});
  }
};

struct Ears final : uv::UdpSocket::Listener {
  int trains = 0;
  void on_train(Instant, const uv::ReceivedTrain&) override { ++trains; }
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
};

// In a network of its own, so that the ports are the real ones.
struct Loopback {
  test::PrivateNetwork network;
  Loopback() {
    REQUIRE(network.entered());
    REQUIRE(test::run("ip link set lo up"));
  }
};

struct World : Loopback, test::SpaSite {
  const Identity alice = test::device_named("alice");
  const spa::KeyPair alice_keys = spa::KeyPair::generate(random);
  test::UvLoop loop;
  StunServer stun{{.transaction_key = StunTransactionKey(random.bytes<16>()),
                   .primary_port = kPort,
                   .alternate_port = kDnsPort,
                   .max_credentials = 4}};
  RelayServer relay{{}, RelayKey(random.bytes<RelayKey::kSize>()), random};
  spa::VerifierGroup verifiers;
  std::unique_ptr<spa::Verifier> gate;
  std::unique_ptr<spa::Knocker> alice_knocker;
  Heard heard;
  std::unique_ptr<uv::BrokerUdp> broker_udp;
  Ears ears;
  std::unique_ptr<uv::UdpSocket> client;

  World() {
    now = uv::now();
    wall = uv::wall_now();
    const spa::DeviceKey key{1, alice_keys.public_key()};
    gate = std::make_unique<spa::Verifier>(options(), random);
    REQUIRE(gate->put_device(alice, {&key, 1}));
    gate->handle_timeout(now, wall);
    verifiers.add(*gate);
    alice_knocker = knocker(alice, alice_keys);
    const spa::DnsSuffix other = *spa::DnsSuffix::parse("other.example");
    auto opened = uv::BrokerUdp::open(loop.get(),
                                      {.address = kLoopback,
                                       .port = kPort,
                                       .dns_port = kDnsPort,
                                       .dns_suffixes = {other, dns_suffix},
                                       .knocks = &heard},
                                      stun, relay, verifiers);
    REQUIRE(opened);
    broker_udp = std::move(*opened);
    auto socket = uv::UdpSocket::open(loop.get(), {.bind = {kLoopback, 0}}, ears);
    REQUIRE(socket);
    client = std::move(*socket);
  }

  void send(std::uint16_t port, ByteBuffer datagram) {
    client->send(Transmit{.to = {kLoopback, port}, .from = {}, .bytes = std::move(datagram)});
  }
  // Datagrams of one sender on loopback arrive in order on each port: when these knocks are heard, so was everything
  // before them.
  void settle() {
    const std::size_t before = heard.knocks.size();
    const auto id = alice_knocker->next_knock_id();
    send(kPort, alice_knocker->make_udp_knock(wall, id));
    send(kDnsPort, alice_knocker->make_dns_knock(wall, id));
    REQUIRE(loop.run_until([&] { return heard.knocks.size() >= before + 2; }));
    loop.run_turns();
    heard.knocks.resize(heard.knocks.size() - 2);
  }
};

}  // namespace

TEST_CASE("broker udp: a knock is heard on either port, with its device and source", "[natt][broker]") {
  World world;
  const auto id = world.alice_knocker->next_knock_id();
  world.send(World::kPort, world.alice_knocker->make_udp_knock(world.wall, id));
  REQUIRE(world.loop.run_until([&] { return world.heard.knocks.size() == 1; }));
  world.send(kDnsPort, world.alice_knocker->make_dns_knock(world.wall, id));
  REQUIRE(world.loop.run_until([&] { return world.heard.knocks.size() == 2; }));

  CHECK(world.heard.knocks[0].transport == spa::Transport::kUdp);
  CHECK(world.heard.knocks[1].transport == spa::Transport::kDns);
  for (const Heard::Knock& knock : world.heard.knocks) {
    CHECK(knock.device == "alice");
    CHECK(knock.knock_id == static_cast<std::uint16_t>(id));
    CHECK(knock.source == world.client->local_address());
  }
  CHECK(world.broker_udp->knocks_granted() == 2);
  CHECK(world.ears.trains == 0);
}

TEST_CASE("broker udp: copies of a DNS knock are dropped in silence", "[natt][broker]") {
  World world;
  ByteBuffer knock = world.alice_knocker->make_dns_knock(world.wall, world.alice_knocker->next_knock_id());
  for (int copy = 0; copy < 20; ++copy) {
    world.send(kDnsPort, knock);
    ++knock[0];  // resolvers that retry draw new ids
  }
  world.settle();

  CHECK(world.heard.knocks.size() == 1);
  CHECK(world.gate->stats().dropped(spa::DropReason::kReplayed) == 19);
  CHECK(world.ears.trains == 0);
}

TEST_CASE("broker udp: a frame on the wrong port, of another site, or for another carrier is nothing",
          "[natt][broker]") {
  World world;
  const auto id = world.alice_knocker->next_knock_id();
  world.send(World::kPort, world.alice_knocker->make_dns_knock(world.wall, id));
  world.send(kDnsPort, world.alice_knocker->make_udp_knock(world.wall, id));
  // The same octets in the other carrier's clothes.
  const auto udp_frame = *spa::parse_udp_carrier(world.alice_knocker->make_udp_knock(world.wall, id));
  world.send(kDnsPort, spa::make_dns_carrier(udp_frame, world.dns_suffix, world.random));
  const auto dns_frame = *spa::parse_dns_carrier(world.alice_knocker->make_dns_knock(world.wall, id), world.dns_suffix);
  world.send(World::kPort, spa::make_udp_carrier(dns_frame));
  world.send(kDnsPort, spa::make_dns_carrier(dns_frame, *spa::DnsSuffix::parse("stranger.example"), world.random));
  world.settle();

  CHECK(world.heard.knocks.empty());
  CHECK(world.ears.trains == 0);
}

TEST_CASE("broker udp: any suffix that the broker knows will do", "[natt][broker]") {
  World world;
  const auto frame = *spa::parse_dns_carrier(
      world.alice_knocker->make_dns_knock(world.wall, world.alice_knocker->next_knock_id()), world.dns_suffix);
  world.send(kDnsPort, spa::make_dns_carrier(frame, *spa::DnsSuffix::parse("OTHER.example"), world.random));
  world.settle();

  CHECK(world.heard.knocks.size() == 1);
}

TEST_CASE("broker udp: nobody's queries, damaged knocks and noise are not answered on the DNS port", "[natt][broker]") {
  World world;
  const ByteBuffer knock = world.alice_knocker->make_dns_knock(world.wall, world.alice_knocker->next_knock_id());
  const ByteBuffer plain{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
  world.send(kDnsPort, plain);
  for (std::size_t size = 1; size < knock.size(); size += 7) {
    world.send(kDnsPort, {knock.begin(), knock.begin() + static_cast<std::ptrdiff_t>(size)});
  }
  for (std::size_t at = 2; at < knock.size(); at += 3) {
    // The OPT record's UDP size and flags belong to forwarders.
    if (at >= knock.size() - 8 && at < knock.size() - 2) continue;
    ByteBuffer damaged = knock;
    damaged[at] ^= 0x8a;
    world.send(kDnsPort, damaged);
  }
  for (int i = 0; i < 50; ++i) {
    ByteBuffer noise(1 + world.random.uniform(300));
    world.random.fill(noise);
    world.send(kDnsPort, noise);
  }
  world.settle();

  CHECK(world.heard.knocks.empty());
  CHECK(world.ears.trains == 0);
  CHECK(world.gate->stats().dropped(spa::DropReason::kBadTag) == 0);
}
