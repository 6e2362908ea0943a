// SPDX-License-Identifier: Apache-2.0
// A gateway of a TLS site over loopback: who gets through its TCP port, and the tunnels of
// those who do.
#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/spa/errc.h>

#include "integration/loopback_site.h"
#include "integration/tls_peers.h"
#include "integration/watched_connection.h"
#include "support/idle_gate.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

const Identity kGateway{"hq", Role::kGateway, "gw1"};

// A TLS site with broker and gateway; the test drives the clients.
struct TlsSite {
  LoopbackSite site;
  std::unique_ptr<spa::Knocker> knocker;

  explicit TlsSite(LoopbackSite::Options options = {.protocol = tunnel::TunnelProtocol::kTls}) : site(options) {
    site.open_broker();
    site.open_gateway();
    REQUIRE(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].gateways_online == 1; }));
    knocker = site.make_knocker("alice", Role::kGateway, "gw1");
  }

  [[nodiscard]] std::unique_ptr<TlsPeer> peer(const std::string& name) {
    return std::make_unique<TlsPeer>(site.loop, site.client_credentials(name), kGateway);
  }
  // Alice with her tunnel.
  [[nodiscard]] std::unique_ptr<TlsPeer> connected() {
    auto alice = peer("alice");
    alice->connect(door(), *knocker);
    REQUIRE(site.loop.run_until([&] { return alice->confirmed; }));
    return alice;
  }
  // The stream exists when its first octets are back.
  void open_echo(TlsPeer& alice) {
    alice.open(tunnel::Authority::of(site.echo->address()));
    alice.send(as_bytes("hello"));
    REQUIRE(site.loop.run_until([&] { return alice.received == "hello"; }));
    CHECK(alice.status == 200);
  }
  [[nodiscard]] SocketAddress door() const { return site.gateway->local_address(); }
  [[nodiscard]] SignalAdmissionStats counted() const { return site.gateway->door()->connections; }
  void pass(std::uint64_t milliseconds) {
    static_cast<void>(site.loop.run_until([] { return false; }, milliseconds));
  }
};

}  // namespace

TEST_CASE("tls gateway: a client whose frame is granted gets a tunnel, and streams through it", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();

  world.open_echo(*alice);

  const auto connections = world.site.gateway->connections();
  REQUIRE(connections.size() == 1);
  CHECK(connections[0].client.name == "alice");
  CHECK(connections[0].type == ConnectionType::kDirect);
  CHECK(connections[0].protocol == tunnel::TunnelProtocol::kTls);
  REQUIRE(connections[0].remote);
  CHECK(connections[0].remote->ip == world.door().ip);
  CHECK(connections[0].stats.bytes_in > 0);
  CHECK(world.site.gateway->connection_counts() == ConnectionCounts{1, 0, 0});
  CHECK(world.site.gateway->stream_count() == 1);
  CHECK(world.counted().admitted == 1);
  CHECK(world.site.gateway->tls_stats()->connections == 1);

  alice->close();
  CHECK(world.site.loop.run_until([&] { return world.site.gateway->connections().empty(); }));
  CHECK(world.site.loop.run_until([&] { return alice->ended.has_value(); }));
  CHECK(world.site.gateway->stream_count() == 0);
}

TEST_CASE("tls gateway: sixteen megabytes come back unchanged, and both half-closes arrive", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  const std::string sent = text_pattern(16 << 20);

  alice->open(tunnel::Authority::of(world.site.echo->address()));
  alice->send(as_bytes(sent));
  alice->finish_sending();

  CHECK(world.site.loop.run_until([&] { return alice->finished; }, 30'000));
  CHECK(alice->received == sent);
  CHECK(world.site.loop.run_until([&] { return alice->stream_closed && world.site.gateway->stream_count() == 0; }));
}

TEST_CASE("tls gateway: a client that does not read stops its own streams and nobody else's", "[integration][site]") {
  TlsSite world;
  const auto slow = world.connected();
  const auto other = world.connected();
  const std::string sent = text_pattern(24 << 20);
  slow->open(tunnel::Authority::of(world.site.echo->address()));
  slow->pause();
  slow->send(as_bytes(sent));
  slow->finish_sending();
  world.pass(300);

  world.open_echo(*other);

  CHECK(slow->received.empty());
  // The echo is stopped by the gateway, and stops the client.
  std::uint64_t most = 0;
  for (const auto& connection : world.site.gateway->connections()) most = std::max(most, connection.stats.bytes_in);
  CHECK(most > 0);
  CHECK(most < sent.size());
  slow->resume();
  CHECK(world.site.loop.run_until([&] { return slow->finished; }, 30'000));
  CHECK(slow->received == sent);
}

TEST_CASE("tls gateway: a tunnel that is idle lets the loop sleep", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  world.open_echo(*alice);
  world.pass(100);

  int turns = 0;
  static_cast<void>(world.site.loop.run_until([&] { return ++turns < 0; }, 500));

  CHECK(turns < 50);
}

TEST_CASE("tls gateway: a relayed tunnel belongs to its session and needs no door", "[integration][site]") {
  TlsSite world({.direct = false, .protocol = tunnel::TunnelProtocol::kTls});
  LoopbackSite& site = world.site;
  site.open_client();

  REQUIRE(site.connect());

  const auto connections = site.gateway->connections();
  REQUIRE(connections.size() == 1);
  CHECK(connections[0].type == ConnectionType::kRelay);
  CHECK(connections[0].protocol == tunnel::TunnelProtocol::kTls);
  CHECK(site.gateway->connection_counts() == ConnectionCounts{0, 0, 1});
  CHECK(site.gateway->session_count() == 1);
  CHECK(world.counted().accepted == 0);

  site.revoke(Role::kClient, "alice");

  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty() && site.gateway->session_count() == 0; },
                            1000));
}

TEST_CASE("tls gateway: a relayed leg is of no use to a client that has lost its entitlements meanwhile",
          "[integration][site]") {
  TlsSite world({.direct = false, .relay_after = 400ms, .protocol = tunnel::TunnelProtocol::kTls});
  LoopbackSite& site = world.site;
  site.open_client();
  site.client->keep_up(uv::now(), "gw1");
  // The gateway's leg waits at the broker, the client's race is not there yet.
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));
  REQUIRE(site.gateway->session_count() == 1);

  site.policy.allowed = "somebody else";
  site.gateway->handle_policy_change(uv::now());

  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().pairs_opened == 1; }));
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }));
  CHECK(site.gateway->connections().empty());
  CHECK(site.gateway->tls_stats()->connections == 0);
  CHECK(site.gateway->tls_stats()->handshakes_failed == 0);
  CHECK_FALSE(site.connection_type());
}

TEST_CASE("tls gateway: a relayed tunnel that breaks takes its session along", "[integration][site]") {
  TlsSite world({.direct = false, .protocol = tunnel::TunnelProtocol::kTls});
  LoopbackSite& site = world.site;
  site.open_client();
  REQUIRE(site.connect());
  REQUIRE(site.gateway->session_count() == 1);

  // As when it is killed: the kernel closes its connections, and it says nothing.
  site.client.reset();

  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty() && site.gateway->session_count() == 0; }));
  CHECK(site.loop.run_until([&] { return site.broker->sessions().empty(); }));
}

TEST_CASE("tls gateway: whoever has not proved himself meets silence", "[integration][site]") {
  TlsSite world;
  LoopbackSite& site = world.site;
  const SocketAddress door = world.door();
  const auto alice = world.peer("alice");
  const ByteView hello = alice->client->client_hello();

  std::vector<std::unique_ptr<WatchedConnection>> strangers;
  const auto stranger = [&](ByteView words) {
    strangers.push_back(std::make_unique<WatchedConnection>(site.loop, door, words));
  };
  stranger({});
  stranger(as_bytes("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"));
  stranger(ByteBuffer(4096, 0x16));
  stranger(hello);
  // A frame that opens the broker's port opens no gateway's.
  const auto for_broker = site.make_knocker("alice", Role::kBroker, "b1");
  stranger(alice->first_flight(*for_broker));
  // One bit of the frame, and one of what it is bound to.
  ByteBuffer bad_frame = alice->first_flight(*world.knocker);
  bad_frame[11] = static_cast<std::uint8_t>(bad_frame[11] ^ 1);
  stranger(bad_frame);
  ByteBuffer bad_hello = alice->first_flight(*world.knocker);
  bad_hello.back() = static_cast<std::uint8_t>(bad_hello.back() ^ 1);
  stranger(bad_hello);
  // Joins are for brokers, however genuine.
  const auto join = world.knocker->make_relay_join(uv::wall_now(), world.knocker->next_knock_id(), {});
  ByteBuffer both = join.record1;
  both.insert(both.end(), join.record2.begin(), join.record2.end());
  stranger(both);
  // A device of the site that no rule names.
  const auto mallorys = site.make_knocker("mallory", Role::kGateway, "gw1");
  const auto mallory = world.peer("mallory");
  stranger(mallory->first_flight(*mallorys));
  // A copy of what has let somebody in.
  const auto bob = world.peer("alice");
  const ByteBuffer flight = bob->first_flight(*world.knocker);
  const ByteView record1 = ByteView(flight).first(flight.size() - bob->client->client_hello().size());
  bob->connect(door, record1);
  REQUIRE(site.loop.run_until([&] { return bob->confirmed; }));
  stranger(flight);

  // Longer than the records may take to come: by then each has been judged.
  world.pass(3300);

  for (std::size_t i = 0; i < strangers.size(); ++i) {
    CAPTURE(i);
    CHECK(strangers[i]->met_silence());
  }
  const SignalAdmissionStats counted = world.counted();
  CHECK(counted.accepted == strangers.size() + 1);
  CHECK(counted.admitted == 1);
  CHECK(counted.pending == strangers.size());
  CHECK(counted.silenced == strangers.size());
  CHECK(site.gateway->tls_stats()->connections == 1);
  CHECK(site.gateway->tls_stats()->handshakes_failed == 0);
  CHECK(site.gateway->connections().size() == 1);
}

TEST_CASE("tls gateway: strangers leave three quarters of the descriptors to members", "[integration][site]") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{400, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  {
    TlsSite world;
    std::vector<std::unique_ptr<WatchedConnection>> strangers;
    for (int i = 0; i < 150; ++i) {
      strangers.push_back(std::make_unique<WatchedConnection>(world.site.loop, world.door(), ByteView{}));
    }
    CHECK(world.site.loop.run_until([&] { return world.counted().accepted == 150; }));

    const auto alice = world.connected();

    world.open_echo(*alice);
    CHECK(world.counted().pending == 100 - 1);
    CHECK(world.counted().overflow == 50 + 1);
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("tls gateway: a frame lets in nobody but the device that made it", "[integration][site]") {
  TlsSite world;
  const auto mallory = world.peer("mallory");

  // Mallory has stolen Alice's SPA key, and has a certificate of her own only.
  mallory->connect(world.door(), *world.knocker);

  CHECK(world.site.loop.run_until([&] { return mallory->ended.has_value(); }));
  CHECK_FALSE(mallory->confirmed);
  CHECK(world.counted().admitted == 1);
  CHECK(world.site.gateway->tls_stats()->handshakes_failed == 1);
  CHECK(world.site.gateway->connections().empty());
}

TEST_CASE("tls gateway: a revoked client's tunnel ends within a second, and its next frame is a stranger's",
          "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  world.open_echo(*alice);
  const auto again = world.peer("alice");

  world.site.revoke(Role::kClient, "alice");

  CHECK(world.site.loop.run_until([&] { return alice->ended && world.site.gateway->connections().empty(); }, 1000));
  CHECK(world.site.gateway->stream_count() == 0);
  WatchedConnection late(world.site.loop, world.door(), again->first_flight(*world.knocker));
  world.pass(300);
  CHECK(late.met_silence());
}

TEST_CASE("tls gateway: a client that loses its entitlements loses its tunnel", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  world.open_echo(*alice);

  world.site.policy.allowed = "somebody else";
  world.site.gateway->handle_policy_change(uv::now());

  CHECK(world.site.loop.run_until([&] { return alice->ended && world.site.gateway->connections().empty(); }, 1000));
}

TEST_CASE("tls gateway: a renewed certificate serves new tunnels, and those that are there go on",
          "[integration][site]") {
  TlsSite world({.gateway_has_older_key = true, .protocol = tunnel::TunnelProtocol::kTls});
  const auto before = world.connected();
  world.open_echo(*before);

  REQUIRE(world.site.renew_gateway());

  const auto after = world.connected();
  CHECK(after->gateway_serial.has_value());
  CHECK(after->gateway_serial != before->gateway_serial);
  before->send(as_bytes(" again"));
  CHECK(world.site.loop.run_until([&] { return before->received == "hello again"; }));
  CHECK(world.site.gateway->connections().size() == 2);
}

TEST_CASE("tls gateway: draining lets streams end and nobody else in", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  world.open_echo(*alice);

  world.site.gateway->drain(uv::now());

  const auto late = world.peer("alice");
  late->connect(world.door(), *world.knocker);
  CHECK(world.site.loop.run_until([&] { return late->ended.has_value(); }));
  CHECK_FALSE(late->confirmed);
  alice->send(as_bytes(" again"));
  CHECK(world.site.loop.run_until([&] { return alice->received == "hello again"; }));
  CHECK_FALSE(world.site.gateway->is_drained());
  world.site.gateway->close(uv::now(), "the gateway is stopping");
  CHECK(world.site.loop.run_until([&] { return world.site.gateway->is_drained() && alice->ended; }));
}

TEST_CASE("tls gateway: a client that hangs up leaves nothing behind", "[integration][site]") {
  TlsSite world;
  const auto alice = world.connected();
  world.open_echo(*alice);

  alice->hang_up();

  CHECK(world.site.loop.run_until([&] {
    return world.site.gateway->connections().empty() && world.site.gateway->stream_count() == 0 &&
           world.site.gateway->tls_stats()->connections == 0;
  }));
}

namespace {

// Remembers what it was put on; may not want to.
class WatchedGate final : public IdleGate {
 public:
  bool refuses = false;
  std::vector<spa::GateSocket> kinds;
  Result<void> attach(int, spa::GateSocket kind) override {
    if (refuses && kind == spa::GateSocket::kTcpSyn) return fail(spa::Errc::kUnavailable, "no room");
    kinds.push_back(kind);
    return {};
  }
};

}  // namespace

TEST_CASE("tls gateway: the kernel gate hides the port from SYNs without a frame, where it can",
          "[integration][site]") {
  WatchedGate gate;
  {
    TlsSite world({.protocol = tunnel::TunnelProtocol::kTls, .gate = &gate});
    CHECK(gate.kinds == std::vector{spa::GateSocket::kTunnelUdp, spa::GateSocket::kTcpSyn});
    CHECK(world.site.gateway->door()->plan.visibility == TcpVisibility::kSyn);
    CHECK(world.site.gateway->door()->plan.shortfall.empty());
  }
  gate.refuses = true;
  TlsSite world({.protocol = tunnel::TunnelProtocol::kTls, .gate = &gate});
  CHECK(world.site.gateway->door()->plan.visibility == TcpVisibility::kOpen);
  CHECK(world.site.gateway->door()->plan.shortfall.find("no room") != std::string::npos);
  static_cast<void>(world.connected());
}

TEST_CASE("tls gateway: in a QUIC site there is no TCP port", "[integration][site]") {
  TlsSite world(LoopbackSite::Options{});
  WatchedConnection stranger(world.site.loop, world.door(), {});

  CHECK(world.site.loop.run_until([&] { return stranger.reset; }));
  CHECK_FALSE(stranger.connected);
  CHECK_FALSE(world.site.gateway->door());
  CHECK_FALSE(world.site.gateway->tls_stats());
}
