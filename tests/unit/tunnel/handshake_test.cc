// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

TEST_CASE("tunnel: client and gateway know each other after the handshake", "[tunnel][handshake]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();

  REQUIRE(fixture.connect(client));

  CHECK(client.connected == fixture.pki.identity(Role::kGateway, "gw1"));
  REQUIRE(fixture.connected.size() == 1);
  CHECK(fixture.connected[0].identity == fixture.pki.identity(Role::kClient, "alice"));
  CHECK(fixture.connected[0].path == client.core->current_path());
  CHECK(fixture.server->stats().connections == 1);
}

TEST_CASE("tunnel: bytes go both ways and half-close reaches the other end", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  fixture.echoes = true;

  const auto stream = client.core->open_tcp(target("db.example:5432"));
  REQUIRE(stream);
  REQUIRE(fixture.answered(client, *stream));
  CHECK(client.streams[stream->number].status == 200);
  REQUIRE(fixture.requests.size() == 1);
  CHECK(fixture.requests[0].target == target("db.example:5432"));
  CHECK(fixture.requests[0].protocol == tunnel::Protocol::kTcp);
  const ByteBuffer sent = pattern(100'000, 1);
  REQUIRE(client.core->write(*stream, sent) == sent.size());
  client.core->shutdown_write(*stream);

  REQUIRE(fixture.wire->run_for(10s, [&] { return client.streams[stream->number].closed; }));
  CHECK(client.streams[stream->number].bytes == sent);
  CHECK(client.streams[stream->number].finished);
  CHECK(fixture.streams.begin()->second.bytes == sent);
  CHECK(fixture.streams.begin()->second.finished);
}
