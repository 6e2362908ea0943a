// SPDX-License-Identifier: Apache-2.0
// Who may have how many connections of one device: handshakes, which have proved nothing yet,
// and tunnels.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

namespace {

TunnelFixture::Kind either_kind() { return GENERATE(TunnelFixture::Kind::kQuic, TunnelFixture::Kind::kTls); }

// A handshake of alice's, as her name is all that its maker has: its first flight arrives, and nothing after it.
ClientSide& add_half(TunnelFixture& fixture) {
  const std::uint64_t before = fixture.living() + fixture.handshakes_failed();
  ClientSide& half = fixture.add_client();
  REQUIRE(fixture.wire->run_for(1s, [&] { return fixture.living() + fixture.handshakes_failed() > before; }));
  fixture.silence(half);
  return half;
}

}  // namespace

TEST_CASE("tunnel: handshakes that prove nothing end no tunnel of their device", "[tunnel][limits]") {
  tunnel::ServerOptions options;
  options.max_connections_per_identity = 2;
  options.max_handshakes_per_identity = 3;
  TunnelFixture fixture(test_seed(), options, either_kind());
  ClientSide& first = fixture.add_client();
  REQUIRE(fixture.connect(first));
  ClientSide& second = fixture.add_client();
  REQUIRE(fixture.connect(second));
  fixture.wire->run_for(13s);  // as quiet as a keep-alive lets a tunnel be

  for (int i = 0; i < 10; ++i) add_half(fixture);

  fixture.wire->run_for(100ms);
  CHECK(fixture.living() == 2 + 3);
  CHECK(fixture.handshakes_failed() == 7);
  CHECK_FALSE(first.closed);
  CHECK_FALSE(second.closed);
  CHECK(fixture.disconnected.empty());
}

TEST_CASE("tunnel: an honest client comes in past handshakes of its name that stand still", "[tunnel][limits]") {
  tunnel::ServerOptions options;
  options.max_handshakes_per_identity = 3;
  TunnelFixture fixture(test_seed(), options, either_kind());
  for (int i = 0; i < 3; ++i) add_half(fixture);

  CHECK(fixture.connect(fixture.add_client()));
  CHECK(fixture.handshakes_failed() == 1);
}

TEST_CASE("tunnel: a tunnel too many ends the one silent for longest, and only once it has proved itself",
          "[tunnel][limits]") {
  tunnel::ServerOptions options;
  options.max_connections_per_identity = 2;
  TunnelFixture fixture(test_seed(), options, either_kind());
  ClientSide& first = fixture.add_client();
  REQUIRE(fixture.connect(first));
  ClientSide& second = fixture.add_client();
  REQUIRE(fixture.connect(second));
  fixture.wire->run_for(1s);
  const auto stream = first.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(first, *stream));  // heard last

  ClientSide& third = add_half(fixture);
  fixture.wire->run_for(1s);
  CHECK_FALSE(second.closed);

  ClientSide& fourth = fixture.add_client();
  REQUIRE(fixture.connect(fourth));
  CHECK(fixture.wire->run_for(1s, [&] { return second.closed.has_value(); }));
  CHECK_FALSE(first.closed);
  CHECK_FALSE(third.connected);
  CHECK_FALSE(fourth.closed);
}

TEST_CASE("tunnel: honest races and reconnects lose nothing to the limits", "[tunnel][limits]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  ClientSide& tunnel = fixture.add_client();
  REQUIRE(fixture.connect(tunnel));
  // Twice as many as four addresses and three steps, at one time: a reconnect behind a race that was not over.
  constexpr std::size_t kRace = 12;
  std::vector<ClientSide*> race;
  for (std::size_t i = 0; i < kRace; ++i) race.push_back(&fixture.add_client());
  for (std::size_t i = 0; i < kRace; ++i) add_half(fixture);  // lost on their way

  CHECK(fixture.wire->run_for(2s, [&] { return fixture.connected.size() == 1 + kRace; }));
  for (const ClientSide* side : race) {
    CHECK(side->connected);
    CHECK_FALSE(side->closed);
  }
  CHECK_FALSE(tunnel.closed);
  CHECK(fixture.handshakes_failed() == 0);
}
