// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

namespace {

// An Initial as a stranger would build it: right shape, junk inside.
ByteBuffer initial(SeededRandom& random, std::size_t token_size, std::uint32_t version = 1) {
  ByteBuffer bytes{0xc3, 0, 0, 0, 0, 16};
  store_be(bytes.data() + 1, version);
  const auto append = [&](std::size_t count) {
    ByteBuffer junk(count);
    random.fill(junk);
    bytes.insert(bytes.end(), junk.begin(), junk.end());
  };
  append(16);
  bytes.push_back(8);
  append(8);
  bytes.push_back(0x40);
  bytes.push_back(static_cast<std::uint8_t>(token_size));
  append(token_size);
  const std::size_t rest = 1200 - bytes.size() - 2;
  bytes.push_back(static_cast<std::uint8_t>(0x40 | (rest >> 8)));
  bytes.push_back(static_cast<std::uint8_t>(rest & 0xff));
  append(rest);
  return bytes;
}

}  // namespace

TEST_CASE("tunnel: strangers' packets are dropped by reason and never answered", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  SeededRandom random(test_seed());
  const auto send = [&](ByteBuffer bytes) {
    fixture.quic().handle_packet(fixture.wire->now(), {9}, 0, bytes);
  };
  ByteBuffer ours{0x40};
  const auto made = fixture.id_key.make(random);
  ours.insert(ours.end(), made.begin(), made.end());
  ours.resize(100);
  ByteBuffer foreign(100);
  random.fill(foreign);
  foreign[0] = 0x40;

  send({});
  send({0xc0});
  send(ours);
  send(foreign);
  send(initial(random, 64, 0x0a0a0a0a));  // would draw Version Negotiation
  send(initial(random, 64, 0));
  send(initial(random, 63));
  send(initial(random, 0));
  send(initial(random, 64));

  const tunnel::ServerStats stats = fixture.quic().stats();
  CHECK(stats.malformed == 2);
  CHECK(stats.unknown_id == 1);
  CHECK(stats.foreign_id == 1);
  CHECK(stats.wrong_version == 2);
  CHECK(stats.no_token == 2);
  CHECK(stats.not_admitted == 1);
  CHECK(fixture.gate.asked == 1);
  fixture.wire->run_for(30s);
  CHECK(fixture.wire->counters().to_client == 0);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel: an admitted Initial with junk inside leaves nothing behind", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  SeededRandom random(test_seed());
  const ByteBuffer bytes = initial(random, 64);
  const ByteBuffer token(bytes.begin() + 33, bytes.begin() + 97);
  const Identity alice = fixture.pki.identity(Role::kClient, "alice");
  tunnel::Admission admission;
  admission.identity = alice;
  admission.wall_now = kTestNow;
  fixture.gate.known.emplace(token, admission);

  for (int i = 0; i < 100; ++i) fixture.packets().inject_to_server({9}, bytes);
  fixture.wire->run_for(30s);

  CHECK(fixture.gate.asked > 0);
  CHECK(fixture.wire->counters().to_client == 0);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel: garbage and damaged copies do not disturb a connection", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  SeededRandom random(test_seed());
  std::vector<std::pair<bool, ByteBuffer>> damaged;
  fixture.packets().tap = [&](bool to_server, PathId, ByteBuffer& bytes) {
    ByteBuffer copy = bytes;
    copy[random.uniform(copy.size())] ^= static_cast<std::uint8_t>(1 + random.uniform(255));
    damaged.emplace_back(to_server, copy);
    copy.resize(random.uniform(copy.size()));
    damaged.emplace_back(to_server, copy);
    return true;
  };
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  const ByteBuffer sent = pattern(300'000, 1);
  std::size_t written = 0;

  REQUIRE(fixture.wire->run_for(30s, [&] {
    written += client.core->write(*stream, ByteView{sent}.subspan(written));
    for (const auto& [to_server, bytes] : damaged) {
      if (to_server) {
        fixture.quic().handle_packet(fixture.wire->now(), client.quic().current_path(), 0, bytes);
      } else {
        client.quic().handle_packet(fixture.wire->now(), client.quic().current_path(), 0, bytes);
      }
    }
    damaged.clear();
    fixture.wire->flush();
    return client.streams[stream->number].bytes.size() == sent.size();
  }));
  CHECK(client.streams[stream->number].bytes == sent);
  CHECK_FALSE(client.closed);
  CHECK(fixture.disconnected.empty());
}

TEST_CASE("tunnel: forged Retry and Version Negotiation do not stop a client", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  ClientSide& client = fixture.add_client();
  const PathId path = client.quic().current_path();
  fixture.packets().tap = [&](bool to_server, PathId, ByteBuffer& bytes) {
    if (!to_server || (bytes[0] & 0x80) == 0) return true;
    ByteBuffer forged{0x80, 0, 0, 0, 0};  // Version Negotiation: ids swapped, one unknown version
    forged.push_back(bytes[22]);
    forged.insert(forged.end(), bytes.begin() + 23, bytes.begin() + 31);
    forged.push_back(16);
    forged.insert(forged.end(), bytes.begin() + 6, bytes.begin() + 22);
    forged.insert(forged.end(), {0x0a, 0x0a, 0x0a, 0x0a});
    fixture.packets().inject_to_client(path, forged);
    forged[0] = 0xf0;  // Retry
    forged[4] = 1;
    forged.resize(forged.size() + 80);
    fixture.packets().inject_to_client(path, forged);
    return true;
  };
  CHECK(fixture.connect(client));
}

TEST_CASE("tunnel: a stranger's packet to a client is not taken for one of its own", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  ClientSide& first = fixture.add_client();
  ClientSide& second = fixture.add_client();
  std::vector<ByteBuffer> to_first;
  fixture.packets().tap = [&](bool to_server, PathId path, ByteBuffer& bytes) {
    if (!to_server && path == first.quic().current_path()) to_first.push_back(bytes);
    return true;
  };
  REQUIRE(fixture.connect(first));
  REQUIRE_FALSE(to_first.empty());
  for (const ByteBuffer& bytes : to_first) {
    CHECK(first.quic().accepts(bytes));
    CHECK_FALSE(second.quic().accepts(bytes));
  }
  CHECK_FALSE(first.quic().accepts({}));
  const ByteBuffer short_one{0x40, 1, 2};
  CHECK_FALSE(first.quic().accepts(short_one));
}

TEST_CASE("tunnel: a clock that steps back does no harm", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const Instant before = fixture.wire->now() - 3s;
  client.core->handle_timeout(before);
  fixture.quic().handle_packet(before, client.quic().current_path(), 0, ByteBuffer(50, 0x40));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  const auto batch = std::make_unique<tunnel::PacketBatch>();
  if (client.quic().poll_batch(before, *batch)) {
    const MutableBytes first = batch->packet(0);
    fixture.packets().inject_to_server(batch->path(), {first.begin(), first.end()});
  }
  CHECK(fixture.answered(client, *stream));
}

TEST_CASE("tunnel: destroying either end in mid-transfer is quiet", "[tunnel][hostile]") {
  TunnelFixture fixture(test_seed());
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
  fixture.destroy(client);
  fixture.wire->run_for(1s);
  SUCCEED();
}
