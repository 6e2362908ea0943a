// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

namespace {

// What both kinds of tunnel do alike.
TunnelFixture::Kind either_kind() { return GENERATE(TunnelFixture::Kind::kQuic, TunnelFixture::Kind::kTls); }

}  // namespace

TEST_CASE("tunnel: client and gateway know each other after the handshake", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();

  REQUIRE(fixture.connect(client));

  CHECK(client.connected == fixture.pki.identity(Role::kGateway, "gw1"));
  REQUIRE(fixture.connected.size() == 1);
  CHECK(fixture.connected[0].identity == fixture.pki.identity(Role::kClient, "alice"));
  CHECK(fixture.connected[0].path == client.quic().current_path());
  CHECK(fixture.quic().stats().connections == 1);
}

TEST_CASE("tunnel: a client refuses a gateway that is not the expected one", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  TunnelFixture::ClientSetup setup;
  setup.gateway = "gw2";
  ClientSide& client = fixture.add_client(setup);

  REQUIRE(fixture.wire->run_for(5s, [&] { return client.closed.has_value(); }));

  CHECK(client.closed->code == tunnel::Errc::kWrongIdentity);
  CHECK_FALSE(client.connected);
  fixture.wire->run_for(10s);
  CHECK(fixture.connected.empty());
  CHECK(fixture.handshakes_failed() == 1);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel: a gateway refuses a certificate that is not the SPA frame's", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  TunnelFixture::ClientSetup setup;
  setup.name = "mallory";
  setup.token_of = "alice";
  ClientSide& client = fixture.add_client(setup);

  REQUIRE(fixture.wire->run_for(5s, [&] { return client.closed.has_value(); }));

  CHECK(client.closed->code == tunnel::Errc::kHandshake);
  CHECK_FALSE(client.confirmed);
  CHECK(fixture.connected.empty());
  fixture.wire->run_for(10s);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel: a gateway refuses a certificate of another CA", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  TestPki other("hq", 99);
  TunnelFixture::ClientSetup setup;
  setup.pki = &other;
  ClientSide& client = fixture.add_client(setup);

  REQUIRE(fixture.wire->run_for(5s, [&] { return client.closed.has_value(); }));
  CHECK_FALSE(client.confirmed);
  CHECK(fixture.connected.empty());
}

TEST_CASE("tunnel: without an admitted token nothing ever leaves the gateway", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  TunnelFixture::ClientSetup setup;
  setup.known_token = false;
  ClientSide& client = fixture.add_client(setup);

  fixture.wire->run_for(20s);

  CHECK(fixture.wire->counters().to_client == 0);
  CHECK(fixture.quic().stats().not_admitted > 0);
  CHECK(fixture.server->is_idle());
  REQUIRE(client.closed);
  CHECK(client.closed->code == tunnel::Errc::kTimeout);
}

TEST_CASE("tunnel: the handshake completes over a path that loses and reorders", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  TunnelFixture::ClientSetup setup;
  setup.wire.loss = 0.2;
  setup.wire.jitter = 30ms;
  setup.wire.duplication = 0.2;
  setup.transport.handshake_timeout = 60s;
  ClientSide& client = fixture.add_client(setup);

  CHECK(fixture.wire->run_for(60s, [&] { return client.confirmed; }));
  CHECK(fixture.connected.size() == 1);
}

TEST_CASE("tunnel: a ClientHello in two packets completes in either order", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  std::vector<ByteBuffer> hello;
  PathId path;
  fixture.packets().tap = [&](bool to_server, PathId on, ByteBuffer& bytes) {
    if (!to_server) return true;
    path = on;
    hello.push_back(bytes);
    return false;
  };
  fixture.wire->run_for(10ms);  // pacing lets the second one go 0.1 ms later
  fixture.packets().tap = nullptr;
  REQUIRE(hello.size() >= 2);  // X25519Kyber768 does not fit one

  SECTION("in order") {}
  SECTION("reversed") { std::reverse(hello.begin(), hello.end()); }
  for (const ByteBuffer& packet : hello) fixture.packets().inject_to_server(path, packet);
  // Less than the second a client waits before it repeats its hello.
  CHECK(fixture.wire->run_for(500ms, [&] { return client.confirmed; }));
  CHECK(fixture.connected.size() == 1);
  CHECK(fixture.quic().stats().over_limit == 0);
}

TEST_CASE("tunnel: copies of the first flight make one connection", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  std::vector<std::pair<PathId, ByteBuffer>> initials;
  fixture.packets().tap = [&](bool to_server, PathId on, ByteBuffer& bytes) {
    if (to_server && (bytes[0] & 0xf0) == 0xc0) initials.emplace_back(on, bytes);
    return true;
  };
  REQUIRE(fixture.connect(client));
  for (const auto& [path, bytes] : initials) fixture.packets().inject_to_server(path, bytes);
  fixture.wire->run_for(5s);
  CHECK(fixture.quic().stats().connections == 1);
  CHECK(fixture.connected.size() == 1);
}

TEST_CASE("tunnel: before the address is validated the gateway sends at most three times what came",
          "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  fixture.packets().tap = [&](bool to_server, PathId, ByteBuffer&) { return to_server; };
  fixture.wire->run_for(8s);
  CHECK(fixture.wire->counters().bytes_to_server > 0);
  std::uint64_t out = 0;
  fixture.packets().tap = nullptr;
  out = fixture.quic().stats().connections > 0 ? fixture.server->stats(tunnel::ConnectionId{1})->bytes_out : 0;
  CHECK(out > 0);
  CHECK(out <= 3 * fixture.wire->counters().bytes_to_server);
  CHECK_FALSE(client.connected);
}

TEST_CASE("tunnel: many clients are served side by side", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.echoes = true;
  std::vector<tunnel::StreamId> streams;
  for (int i = 0; i < 30; ++i) {
    TunnelFixture::ClientSetup setup;
    setup.name = "client-" + std::to_string(i);
    fixture.add_client(setup);
  }
  for (const auto& client : fixture.clients) REQUIRE(fixture.connect(*client));
  for (const auto& client : fixture.clients) {
    streams.push_back(client->core->open_tcp(target("10.99.0.5:22")).value());
    REQUIRE(client->core->write(streams.back(), pattern(20'000, streams.size())) == 20'000);
    client->core->shutdown_write(streams.back());
  }
  for (std::size_t i = 0; i < streams.size(); ++i) {
    StreamRecord& record = fixture.clients[i]->streams[streams[i].number];
    REQUIRE(fixture.wire->run_for(20s, [&] { return record.closed; }));
    CHECK(record.bytes == pattern(20'000, i + 1));
  }
  CHECK(fixture.connected.size() == 30);
}

TEST_CASE("tunnel: closing tells the other end why", "[tunnel][close]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));

  SECTION("client") {
    client.core->close(fixture.wire->now(), "user asked");
    REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.disconnected.empty(); }));
    CHECK(fixture.disconnected[0].error.code == tunnel::Errc::kClosed);
    CHECK(fixture.disconnected[0].error.message == "closed by the peer: user asked");
    CHECK(client.closed->code == tunnel::Errc::kClosed);
  }
  SECTION("gateway") {
    fixture.server->close(fixture.wire->now(), fixture.connected[0].connection, "policy changed");
    REQUIRE(fixture.wire->run_for(2s, [&] { return client.closed.has_value(); }));
    CHECK(client.closed->code == tunnel::Errc::kClosed);
    CHECK(client.closed->message == "closed by the peer: policy changed");
  }
  CHECK(client.core->is_closed());
  CHECK_FALSE(client.core->open_tcp(target("10.99.0.5:22")));
  fixture.wire->run_for(10s);
  CHECK(fixture.server->is_idle());
  CHECK_FALSE(fixture.server->next_deadline());
  CHECK_FALSE(client.core->next_deadline());
}

TEST_CASE("tunnel: a lost close is repeated to who still talks", "[tunnel][close]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const PathId path = client.quic().current_path();
  fixture.packets().path(path).black = true;
  fixture.server->close(fixture.wire->now(), fixture.connected[0].connection, "bye");
  fixture.wire->flush();
  fixture.packets().path(path).black = false;

  REQUIRE(client.core->open_tcp(target("10.99.0.5:22")));
  CHECK(fixture.wire->run_for(1s, [&] { return client.closed.has_value(); }));
}

TEST_CASE("tunnel: revoking ends every connection of the device within a second", "[tunnel][close]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& first = fixture.add_client();
  ClientSide& second = fixture.add_client();
  TunnelFixture::ClientSetup bob;
  bob.name = "bob";
  ClientSide& other = fixture.add_client(bob);
  for (const auto& client : fixture.clients) REQUIRE(fixture.connect(*client));
  ClientSide& handshaking = fixture.add_client();
  fixture.wire->run_for(25ms);

  fixture.server->close_all(fixture.wire->now(), fixture.pki.identity(Role::kClient, "alice"), "revoked");
  fixture.gate.known.clear();

  REQUIRE(fixture.wire->run_for(1s, [&] { return first.closed && second.closed; }));
  CHECK(first.closed->message == "closed by the peer: revoked");
  CHECK_FALSE(other.closed);
  fixture.wire->run_for(20s);
  CHECK_FALSE(handshaking.confirmed);
  CHECK(fixture.living() == 1);
}

TEST_CASE("tunnel: a silent peer is given up after the idle timeout", "[tunnel][close]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  fixture.silence(client);

  fixture.wire->run_for(19min);
  CHECK_FALSE(client.closed);
  fixture.wire->run_for(2min);
  REQUIRE(client.closed);
  CHECK(client.closed->code == tunnel::Errc::kTimeout);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel: a device with too many connections loses the one silent for longest", "[tunnel][close]") {
  tunnel::ServerOptions options;
  options.max_connections_per_identity = 2;
  TunnelFixture fixture(test_seed(), options, either_kind());
  ClientSide& first = fixture.add_client();
  REQUIRE(fixture.connect(first));
  fixture.wire->run_for(1s);  // what ends a handshake has gone both ways
  ClientSide& second = fixture.add_client();
  REQUIRE(fixture.connect(second));
  fixture.wire->run_for(1s);
  ClientSide& third = fixture.add_client();
  REQUIRE(fixture.connect(third));

  CHECK(fixture.wire->run_for(1s, [&] { return first.closed.has_value(); }));
  CHECK_FALSE(second.closed);
}

TEST_CASE("tunnel: a full gateway stays silent towards newcomers", "[tunnel][close]") {
  tunnel::ServerOptions options;
  options.max_connections = 1;
  TunnelFixture fixture(test_seed(), options);
  REQUIRE(fixture.connect(fixture.add_client()));
  TunnelFixture::ClientSetup bob;
  bob.name = "bob";
  ClientSide& late = fixture.add_client(bob);
  const PathId path = late.quic().current_path();
  std::size_t answers = 0;
  fixture.packets().tap = [&](bool to_server, PathId on, ByteBuffer&) {
    if (!to_server && on == path) ++answers;
    return true;
  };
  fixture.wire->run_for(5s);
  CHECK_FALSE(late.connected);
  CHECK(fixture.quic().stats().over_limit > 0);
  CHECK(answers == 0);
}

TEST_CASE("tunnel: a draining gateway lets streams end and admits nothing new", "[tunnel][close]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));

  fixture.server->drain(fixture.wire->now());
  fixture.wire->run_for(1s);

  const auto refused = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == tunnel::Errc::kRefused);
  REQUIRE(client.core->write(*stream, as_bytes("still here")) == 10);
  CHECK(fixture.wire->run_for(1s, [&] { return fixture.streams[fixture.requests[0].stream].bytes.size() == 10; }));
  ClientSide& late = fixture.add_client();
  fixture.wire->run_for(2s);
  CHECK_FALSE(late.connected);
  CHECK(fixture.quic().stats().draining > 0);
}

TEST_CASE("tunnel: a client in the handshake at drain is told as well, and opens nothing", "[tunnel][close]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& client = fixture.add_client();
  // Its end of TLS is complete; the Finished, and a request behind it, are on their way.
  REQUIRE(fixture.wire->run_for(1s, [&] { return client.connected.has_value(); }));
  REQUIRE(fixture.connected.empty());
  const bool crossing = GENERATE(true, false);
  CAPTURE(crossing);
  const auto early = crossing ? client.core->open_tcp(target("10.99.0.5:22")) : Result<tunnel::StreamId>{};

  fixture.server->drain(fixture.wire->now());
  fixture.wire->flush();
  REQUIRE(fixture.connect(client));
  fixture.wire->run_for(1s);

  CHECK(fixture.requests.empty());
  if (crossing) {
    REQUIRE(early);
    CHECK(client.streams[early->number].reset);
    CHECK(client.streams[early->number].closed);
  }
  const auto late = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE_FALSE(late);
  CHECK(late.error().code == tunnel::Errc::kRefused);
  CHECK_FALSE(client.closed);  // draining ends no tunnel
}

TEST_CASE("tunnel: a request that crosses the drain is rejected, not served", "[tunnel][close]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto crossing = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(crossing);
  fixture.wire->flush();

  fixture.server->drain(fixture.wire->now());  // not even on the wire when the request comes
  fixture.wire->run_for(1s);

  CHECK(fixture.requests.empty());
  CHECK(client.streams[crossing->number].reset);
  CHECK(client.streams[crossing->number].reset_code == 0x10b);
  CHECK(client.streams[crossing->number].closed);
  CHECK_FALSE(client.closed);
}
