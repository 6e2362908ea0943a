// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::MigrationKind;
using tunnel::StreamId;

namespace {

// An echo in full swing: what goes up has to come back, byte for byte.
struct Transfer {
  TunnelFixture& fixture;
  ClientSide& client;
  StreamId stream;
  ByteBuffer bytes;
  std::size_t sent = 0;

  Transfer(TunnelFixture& f, std::size_t size) : fixture(f), client(f.add_client()), bytes(pattern(size, 11)) {
    fixture.echoes = true;
    REQUIRE(fixture.connect(client));
    stream = client.core->open_tcp(target("10.99.0.5:22")).value();
    REQUIRE(fixture.answered(client, stream));
  }
  [[nodiscard]] std::size_t received() { return client.streams[stream.number].bytes.size(); }
  bool run(Duration limit, const std::function<bool()>& done) {
    return fixture.wire->run_for(limit, [&] {
      sent += client.core->write(stream, ByteView{bytes}.subspan(sent));
      fixture.wire->flush();
      return done();
    });
  }
  [[nodiscard]] bool complete() { return run(120s, [&] { return received() == bytes.size(); }) && intact(); }
  [[nodiscard]] bool intact() { return client.streams[stream.number].bytes == bytes; }
};

}  // namespace

TEST_CASE("tunnel migration: an upgrade loses no byte and both ends hear of it", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  Transfer transfer(fixture, 3'000'000);
  REQUIRE(transfer.run(20s, [&] { return transfer.received() > 500'000; }));
  const PathId old_path = transfer.client.quic().current_path();
  const PathId better = fixture.new_path(transfer.client, {.latency = 2ms});

  REQUIRE(transfer.client.quic().migrate(fixture.wire->now(), better, MigrationKind::kUpgrade));

  REQUIRE(transfer.complete());
  CHECK(transfer.client.paths == std::vector<PathId>{better});
  CHECK(transfer.client.quic().current_path() == better);
  REQUIRE_FALSE(fixture.path_changes.empty());
  CHECK(fixture.path_changes.back().path == better);
  CHECK(fixture.path_changes.back().connection == fixture.connected[0].connection);
  CHECK(old_path != better);
}

TEST_CASE("tunnel migration: an upgrade to a path that does not answer stays on the old one", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  Transfer transfer(fixture, 2'000'000);
  const PathId old_path = transfer.client.quic().current_path();
  const PathId dead = fixture.new_path(transfer.client, {.black = true});

  REQUIRE(transfer.client.quic().migrate(fixture.wire->now(), dead, MigrationKind::kUpgrade));

  REQUIRE(transfer.complete());
  REQUIRE(fixture.wire->run_for(30s, [&] { return !transfer.client.failed_paths.empty(); }));
  CHECK(transfer.client.failed_paths == std::vector<PathId>{dead});
  CHECK(transfer.client.quic().current_path() == old_path);
  CHECK_FALSE(transfer.client.closed);
}

TEST_CASE("tunnel migration: fail-over after a black-out resumes at once and loses nothing", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  Transfer transfer(fixture, 3'000'000);
  REQUIRE(transfer.run(20s, [&] { return transfer.received() > 500'000; }));
  const Duration outage = GENERATE(Duration(2s), Duration(20s), Duration(600s));
  CAPTURE(outage.count());
  fixture.packets().path(transfer.client.quic().current_path()).black = true;
  static_cast<void>(transfer.run(outage, [] { return false; }));
  const std::size_t before = transfer.received();
  const PathId relay = fixture.new_path(transfer.client, {.latency = 15ms});

  REQUIRE(transfer.client.quic().migrate(fixture.wire->now(), relay, MigrationKind::kFailover));
  const Instant start = fixture.wire->now();
  REQUIRE(transfer.run(10s, [&] { return transfer.received() > before; }));
  // One round trip of 30 ms carries the first bytes back.
  CHECK(fixture.wire->now() - start <= 100ms);
  REQUIRE(transfer.complete());
  CHECK(fixture.path_changes.back().path == relay);
}

TEST_CASE("tunnel migration: paths can change many times while ids are replaced", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  Transfer transfer(fixture, 4'000'000);
  for (int i = 0; i < 20; ++i) {
    CAPTURE(i);
    const PathId next = fixture.new_path(transfer.client, {.latency = 5ms});
    const std::size_t goal = transfer.received() + 50'000;
    REQUIRE(transfer.client.quic().migrate(fixture.wire->now(), next,
                                          i % 2 == 0 ? MigrationKind::kUpgrade : MigrationKind::kFailover));
    REQUIRE(transfer.run(10s, [&] { return transfer.received() >= goal && transfer.client.quic().current_path() == next; }));
  }
  CHECK(transfer.complete());
}

TEST_CASE("tunnel migration: it is refused before the handshake is confirmed and onto the same path",
          "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  const auto early = client.quic().migrate(fixture.wire->now(), {999}, MigrationKind::kUpgrade);
  REQUIRE_FALSE(early);
  CHECK(early.error().code == tunnel::Errc::kInvalid);
  REQUIRE(fixture.connect(client));

  for (const MigrationKind kind : {MigrationKind::kUpgrade, MigrationKind::kFailover}) {
    const auto same = client.quic().migrate(fixture.wire->now(), client.quic().current_path(), kind);
    REQUIRE_FALSE(same);
    CHECK(same.error().code == tunnel::Errc::kInvalid);
    CHECK_FALSE(client.quic().migrate(fixture.wire->now(), {}, kind));
  }
}

TEST_CASE("tunnel migration: a packet on a path the client did not choose moves nothing", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const PathId original = client.quic().current_path();
  const PathId elsewhere = fixture.new_path(client, {.black = true});
  std::vector<ByteBuffer> copies;
  fixture.packets().tap = [&](bool to_server, PathId, ByteBuffer& bytes) {
    if (to_server) copies.push_back(bytes);
    return true;
  };
  fixture.echoes = true;
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));
  fixture.packets().tap = nullptr;

  // An attacker's copies, from its own address: late ones are duplicates, and nothing but an
  // answer to a challenge would make the gateway stay there.
  for (const ByteBuffer& copy : copies) fixture.packets().inject_to_server(elsewhere, copy);
  fixture.wire->run_for(1s);
  REQUIRE(client.core->write(*stream, as_bytes("ping")) == 4);
  CHECK(fixture.wire->run_for(5s, [&] { return client.streams[stream->number].bytes.size() == 4; }));
  CHECK(client.quic().current_path() == original);
}

TEST_CASE("tunnel migration: packets stay within what every path carries", "[tunnel][migration]") {
  TunnelFixture fixture(test_seed());
  Transfer transfer(fixture, 1'000'000);
  REQUIRE(transfer.complete());
  CHECK(transfer.client.core->stats().max_udp_payload == 1436);
  CHECK(fixture.wire->counters().largest == 1436);

  const PathId narrow = fixture.new_path(transfer.client, {.mtu = 1252});
  REQUIRE(transfer.client.quic().migrate(fixture.wire->now(), narrow, MigrationKind::kFailover));
  Transfer again(fixture, 1000);
  fixture.wire->run_for(30s);
  CHECK(transfer.client.core->stats().max_udp_payload <= 1252);
}
