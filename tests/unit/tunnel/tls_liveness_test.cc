// SPDX-License-Identifier: Apache-2.0
// Time on a tunnel over TLS: silence, PING, handshakes that stop, farewells nobody takes, and
// the limits of connections.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

namespace {

constexpr auto kTls = TunnelFixture::Kind::kTls;

}  // namespace

TEST_CASE("tunnel over tls: a quiet client asks, and the answer shows", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  TunnelFixture::ClientSetup setup;
  setup.transport.keep_alive = 20s;
  ClientSide& client = fixture.add_client(setup);
  REQUIRE(fixture.connect(client));
  const tunnel::ConnectionStats before = client.core->stats();

  fixture.wire->run_for(61s);

  const tunnel::ConnectionStats after = client.core->stats();
  CHECK(after.packets_in - before.packets_in >= 3);
  CHECK(after.packets_out - before.packets_out >= 3);
  CHECK(after.packets_in - before.packets_in <= 5);
  fixture.wire->run_for(25h);
  CHECK_FALSE(client.closed);  // longer than any idle timeout
}

TEST_CASE("tunnel over tls: a client that only sends asks all the same", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  TunnelFixture::ClientSetup setup;
  setup.transport.keep_alive = 14s;
  ClientSide& client = fixture.add_client(setup);
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));
  fixture.wire->run_for(1s);
  const std::uint64_t before = client.core->stats().packets_in;

  for (int second = 0; second < 60; ++second) {
    REQUIRE(client.core->write(*stream, as_bytes("line")) == 4);
    fixture.wire->flush();
    fixture.wire->run_for(1s);
  }

  CHECK(fixture.streams[fixture.requests[0].stream].bytes.size() == 240);
  const std::uint64_t answers = client.core->stats().packets_in - before;
  CHECK(answers >= 4);
  CHECK(answers <= 6);
}

TEST_CASE("tunnel over tls: a gateway asks a client when told to, and stops when told to", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const tunnel::ConnectionId id = fixture.connected[0].connection;
  const auto heard = [&] { return fixture.server->stats(id)->packets_in; };
  fixture.wire->run_for(1s);
  const std::uint64_t before = heard();
  fixture.wire->run_for(60s);
  REQUIRE(heard() == before);

  fixture.server->set_keep_alive(id, 2s);
  fixture.wire->run_for(11s);
  const std::uint64_t asked = heard();
  CHECK(asked >= before + 4);

  fixture.server->set_keep_alive(id, {});
  fixture.wire->run_for(60s);
  CHECK(heard() <= asked + 1);
}

TEST_CASE("tunnel over tls: PINGs to a silent peer do not pile up, and it is given up in time", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  TunnelFixture::ClientSetup setup;
  setup.transport.keep_alive = 1s;
  ClientSide& client = fixture.add_client(setup);
  REQUIRE(fixture.connect(client));
  fixture.silence(client);
  const std::uint64_t before = fixture.wire->counters().bytes_to_server;

  fixture.wire->run_for(21min);

  REQUIRE(client.closed);
  CHECK(client.closed->code == tunnel::Errc::kTimeout);
  CHECK(fixture.wire->counters().bytes_to_server - before < 1300 * 60);
}

TEST_CASE("tunnel over tls: a handshake that stops is given up", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  const auto after = GENERATE(0ms, 15ms, 25ms);
  CAPTURE(after.count());
  fixture.wire->run_for(after);
  fixture.silence(client);

  fixture.wire->run_for(11s);

  REQUIRE(client.closed);
  CHECK(client.closed->code == tunnel::Errc::kTimeout);
  CHECK_FALSE(client.confirmed);
  fixture.wire->run_for(10s);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel over tls: a farewell that nobody takes is dropped after five seconds", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const tunnel::ConnectionId id = fixture.connected[0].connection;
  const Instant now = fixture.wire->now();

  fixture.server->close(now, id, "policy changed");
  CHECK(fixture.over_tls().is_closed(id));
  CHECK_FALSE(fixture.over_tls().output(now, id).empty());
  while (fixture.server->poll_event()) {
  }
  CHECK_FALSE(fixture.server->is_idle());
  fixture.server->handle_timeout(now + 4s);
  CHECK_FALSE(fixture.server->is_idle());
  fixture.server->handle_timeout(now + 6s);

  CHECK(fixture.server->is_idle());
  CHECK(fixture.over_tls().output(now, id).empty());
  CHECK(fixture.over_tls().is_closed(id));
  bool told = false;
  while (const auto progress = fixture.over_tls().poll_progress()) told = told || *progress == id;
  CHECK(told);  // so that its owner closes the TCP connection
}

TEST_CASE("tunnel over tls: a full gateway, and one that leaves, take nobody in", "[tunnel][tls]") {
  tunnel::ServerOptions options;
  options.max_connections = 1;
  TunnelFixture fixture(test_seed(), options, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const bool leaves = GENERATE(true, false);
  if (leaves) fixture.server->drain(fixture.wire->now());
  TunnelFixture::ClientSetup bob;
  bob.name = "bob";
  ClientSide& late = fixture.add_client(bob);

  REQUIRE(fixture.wire->run_for(1s, [&] { return late.closed.has_value(); }));

  CHECK(fixture.tcp().link(late.over_tls()).refused->code == tunnel::Errc::kLimit);
  CHECK_FALSE(late.connected);
  CHECK(fixture.over_tls().stats().over_limit == (leaves ? 0 : 1));
  CHECK(fixture.over_tls().stats().draining == (leaves ? 1 : 0));
  CHECK_FALSE(client.closed);
}

TEST_CASE("tunnel over tls: a draining gateway lets streams end and admits nothing new", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));

  fixture.server->drain(fixture.wire->now());
  const auto crossing = client.core->open_tcp(target("10.99.0.6:22"));  // on its way when the gateway says so
  REQUIRE(crossing);
  REQUIRE(fixture.wire->run_for(1s, [&] { return client.streams[crossing->number].closed; }));
  CHECK(client.streams[crossing->number].reset);
  CHECK(fixture.requests.size() == 1);

  const auto refused = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == tunnel::Errc::kRefused);
  REQUIRE(client.core->write(*stream, as_bytes("still here")) == 10);
  CHECK(fixture.wire->run_for(1s, [&] { return fixture.streams[fixture.requests[0].stream].bytes.size() == 10; }));
  CHECK_FALSE(client.closed);
  fixture.server->close(fixture.wire->now(), fixture.connected[0].connection, "restart");
  REQUIRE(fixture.wire->run_for(1s, [&] { return client.closed.has_value(); }));
  CHECK(client.closed->message == "closed by the peer: restart");
}

TEST_CASE("tunnel over tls: destroying either end in mid-transfer is quiet", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  const auto steps = GENERATE(0, 1, 2, 3, 5, 8, 13, 40);
  CAPTURE(steps);
  int left = steps;
  std::optional<tunnel::StreamId> stream;
  fixture.wire->run_for(5s, [&] {
    if (!stream) {
      if (const auto opened = client.core->open_tcp(target("10.99.0.5:22"))) stream = *opened;
    }
    if (stream) static_cast<void>(client.core->write(*stream, pattern(100'000, 1)));
    fixture.wire->flush();
    return left-- <= 0;
  });
  const bool server = GENERATE(true, false);
  CAPTURE(server);
  if (server) {
    const Instant now = fixture.wire->now();
    fixture.wire.reset();
    fixture.server.reset();
    client.over_tls().handle_disconnected(now, TcpWire::end_of_stream());
    client.drain_events();
    REQUIRE(client.closed);
    CHECK(client.closed->code == tunnel::Errc::kIo);
    CHECK_FALSE(client.core->next_deadline());
    return;
  }
  TcpWire::Link& link = fixture.tcp().link(client.over_tls());
  fixture.destroy(client);
  fixture.tcp().cut(link);
  fixture.wire->run_for(1s);
  CHECK(fixture.server->is_idle());
  CHECK(fixture.disconnected.size() == fixture.connected.size());
  for (const tunnel::ClientDisconnected& gone : fixture.disconnected) CHECK(gone.error.code == tunnel::Errc::kIo);
}

TEST_CASE("tunnel over tls: a gateway that drains and closes in one turn still says why", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));

  fixture.server->drain(fixture.wire->now());
  fixture.server->close(fixture.wire->now(), fixture.connected[0].connection, "restart");

  REQUIRE(fixture.wire->run_for(1s, [&] { return client.closed.has_value(); }));
  CHECK(client.closed->message == "closed by the peer: restart");
  fixture.wire->run_for(1s);
  CHECK(fixture.server->is_idle());
}
