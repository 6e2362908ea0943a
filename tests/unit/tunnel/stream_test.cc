// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::StreamId;

namespace {

// What both kinds of tunnel do alike.
TunnelFixture::Kind either_kind() { return GENERATE(TunnelFixture::Kind::kQuic, TunnelFixture::Kind::kTls); }

struct Opened {
  ClientSide& client;
  StreamId at_client;
  StreamId at_server;
};

Opened open_tcp(TunnelFixture& fixture, TunnelFixture::ClientSetup setup = {}) {
  ClientSide& client = fixture.add_client(setup);
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(stream);
  REQUIRE(fixture.answered(client, *stream));
  return {client, *stream, fixture.requests.back().stream};
}

// Writes as the stream takes it, while the wire runs.
bool pump(TunnelFixture& fixture, tunnel::Streams& from, StreamId stream, ByteView bytes, Duration limit,
          const std::function<bool()>& done) {
  std::size_t sent = 0;
  return fixture.wire->run_for(limit, [&] {
    sent += from.write(stream, bytes.subspan(sent));
    fixture.wire->flush();
    return done();
  });
}

}  // namespace

TEST_CASE("tunnel stream: the client half-closes first and still receives", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open_tcp(fixture);

  opened.client.core->shutdown_write(opened.at_client);
  REQUIRE(fixture.wire->run_for(2s, [&] { return fixture.streams[opened.at_server].finished; }));
  CHECK_FALSE(fixture.streams[opened.at_server].closed);
  REQUIRE(fixture.server->write(opened.at_server, as_bytes("after")) == 5);
  fixture.server->shutdown_write(opened.at_server);

  REQUIRE(fixture.wire->run_for(2s, [&] {
    return opened.client.streams[opened.at_client.number].closed && fixture.streams[opened.at_server].closed;
  }));
  CHECK(as_text(opened.client.streams[opened.at_client.number].bytes) == "after");
  CHECK_FALSE(opened.client.streams[opened.at_client.number].reset);
}

TEST_CASE("tunnel stream: the gateway half-closes first and still receives", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open_tcp(fixture);

  fixture.server->shutdown_write(opened.at_server);
  REQUIRE(fixture.wire->run_for(2s, [&] { return opened.client.streams[opened.at_client.number].finished; }));
  CHECK_FALSE(opened.client.streams[opened.at_client.number].closed);
  REQUIRE(opened.client.core->write(opened.at_client, as_bytes("after")) == 5);
  opened.client.core->shutdown_write(opened.at_client);

  REQUIRE(fixture.wire->run_for(2s, [&] { return fixture.streams[opened.at_server].closed; }));
  CHECK(as_text(fixture.streams[opened.at_server].bytes) == "after");
}

TEST_CASE("tunnel stream: a reset in mid-stream reaches the other end with its code", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open_tcp(fixture);
  const bool by_client = GENERATE(true, false);
  CAPTURE(by_client);
  static_cast<void>(opened.client.core->write(opened.at_client, pattern(50'000, 1)));
  static_cast<void>(fixture.server->write(opened.at_server, pattern(50'000, 2)));
  fixture.wire->run_for(15ms);

  if (by_client) {
    opened.client.core->reset(opened.at_client, tunnel::kConnectError);
  } else {
    fixture.server->reset(opened.at_server, tunnel::kConnectError);
  }

  REQUIRE(fixture.wire->run_for(5s, [&] {
    return opened.client.streams[opened.at_client.number].closed && fixture.streams[opened.at_server].closed;
  }));
  const StreamRecord& other = by_client ? fixture.streams[opened.at_server] : opened.client.streams[opened.at_client.number];
  CHECK(other.reset);
  CHECK(other.reset_code == tunnel::kConnectError);
  CHECK_FALSE(opened.client.closed);
  // The connection lives on, and its window was not lost with the stream.
  const auto next = opened.client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(next);
  CHECK(fixture.answered(opened.client, *next));
}

TEST_CASE("tunnel stream: what is refused tells status and reason and closes", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.accepts = false;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(stream);
  static_cast<void>(client.core->write(*stream, as_bytes("too early")));
  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.requests.empty(); }));

  fixture.server->reject(fixture.requests[0].stream, 403, "no rule for \"alice\" \x01");

  REQUIRE(fixture.wire->run_for(5s, [&] { return client.streams[stream->number].closed; }));
  CHECK(client.streams[stream->number].status == 403);
  CHECK(client.streams[stream->number].reason == "no rule for \"alice\" ?");
  CHECK_FALSE(client.streams[stream->number].reset);
  CHECK(client.core->write(*stream, as_bytes("x")) == 0);
  fixture.wire->run_for(1s);
  CHECK(fixture.streams[fixture.requests[0].stream].closed);
}

TEST_CASE("tunnel stream: bytes written before the answer arrive once it is accepted", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.accepts = false;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(client.core->write(*stream, as_bytes("hello")) == 5);
  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.requests.empty(); }));
  CHECK(fixture.server->peek(fixture.requests[0].stream).empty());

  fixture.server->accept(fixture.requests[0].stream);

  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.streams[fixture.requests[0].stream].bytes.empty(); }));
  CHECK(as_text(fixture.streams[fixture.requests[0].stream].bytes) == "hello");
}

TEST_CASE("tunnel stream: a request taken back before the answer is never announced twice", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.accepts = false;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.requests.empty(); }));

  client.core->reset(*stream, tunnel::kRequestCancelled);

  REQUIRE(fixture.wire->run_for(2s, [&] { return fixture.streams[fixture.requests[0].stream].closed; }));
  CHECK(fixture.streams[fixture.requests[0].stream].reset);
  fixture.server->accept(fixture.requests[0].stream);  // too late: nothing happens
  CHECK(fixture.wire->run_for(2s, [&] { return client.streams[stream->number].closed; }));
}

TEST_CASE("tunnel stream: a large transfer survives loss, reordering and duplication", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed());
  TunnelFixture::ClientSetup setup;
  setup.wire.jitter = 4ms;
  setup.wire.loss = 0.02;
  setup.wire.duplication = 0.01;
  const Opened opened = open_tcp(fixture, setup);
  const bool upload = GENERATE(true, false);
  CAPTURE(upload);
  const ByteBuffer sent = pattern(4'000'000, 3);

  tunnel::Streams& from = upload ? static_cast<tunnel::Streams&>(*opened.client.core) : *fixture.server;
  StreamRecord& record = upload ? fixture.streams[opened.at_server] : opened.client.streams[opened.at_client.number];
  REQUIRE(pump(fixture, from, upload ? opened.at_client : opened.at_server, sent, 300s,
               [&] { return record.bytes.size() >= sent.size(); }));

  CHECK(record.bytes == sent);
  CHECK(fixture.wire->counters().lost > 0);
}

TEST_CASE("tunnel stream: who does not read stops the sender within the window", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open_tcp(fixture);
  fixture.reads = false;
  const ByteBuffer bytes = pattern(8'000'000, 4);

  std::size_t written = 0;
  fixture.wire->run_for(20s, [&] {
    written += opened.client.core->write(opened.at_client, ByteView{bytes}.subspan(written));
    fixture.wire->flush();
    return false;
  });

  const tunnel::TransportOptions defaults;
  // What the window took and what waits in the send buffer, not more.
  CHECK(written >= defaults.stream_window);
  CHECK(written <= defaults.stream_window + defaults.send_buffer);
  const std::uint64_t sent = fixture.wire->counters().bytes_to_server;
  fixture.wire->run_for(20s);
  CHECK(fixture.wire->counters().bytes_to_server - sent < 20'000);

  fixture.reads = true;
  opened.client.streams[opened.at_client.number].writable = false;
  static_cast<void>(opened.client.core->write(opened.at_client, ByteView{bytes}.subspan(written)));
  REQUIRE(fixture.wire->run_for(20s, [&] { return fixture.streams[opened.at_server].bytes.size() >= written; }));
  CHECK(std::equal(fixture.streams[opened.at_server].bytes.begin(), fixture.streams[opened.at_server].bytes.end(),
                   bytes.begin()));
  CHECK(opened.client.streams[opened.at_client.number].writable);
}

TEST_CASE("tunnel stream: a stream that is not read does not hold up another one", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened stuck = open_tcp(fixture);
  fixture.reads = false;
  const ByteBuffer bytes = pattern(3'000'000, 5);
  static_cast<void>(pump(fixture, *stuck.client.core, stuck.at_client, bytes, 5s, [] { return false; }));

  const auto other = stuck.client.core->open_tcp(target("10.99.0.6:80"));
  REQUIRE(fixture.answered(stuck.client, *other));
  const StreamId at_server = fixture.requests.back().stream;
  ByteBuffer received;
  REQUIRE(pump(fixture, *stuck.client.core, *other, bytes, 60s, [&] {
    for (ByteView next = fixture.server->peek(at_server); !next.empty(); next = fixture.server->peek(at_server)) {
      received.insert(received.end(), next.begin(), next.end());
      fixture.server->consume(at_server, next.size());
    }
    return received.size() == bytes.size();
  }));
  CHECK(received == bytes);
}

TEST_CASE("tunnel stream: a thousand streams at once lose nothing", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  std::vector<StreamId> streams;
  for (int i = 0; i < 1000; ++i) {
    const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
    REQUIRE(stream);
    streams.push_back(*stream);
    const ByteBuffer bytes = pattern(1000, static_cast<std::uint64_t>(i));
    REQUIRE(client.core->write(*stream, bytes) == bytes.size());
    client.core->shutdown_write(*stream);
  }

  REQUIRE(fixture.wire->run_for(60s, [&] {
    return std::all_of(streams.begin(), streams.end(), [&](StreamId s) { return client.streams[s.number].closed; });
  }));
  for (std::size_t i = 0; i < streams.size(); ++i) {
    CAPTURE(i);
    REQUIRE(client.streams[streams[i].number].bytes == pattern(1000, i));
  }
  fixture.wire->run_for(1s);
  CHECK(client.core->stats().streams == 0);
  CHECK(fixture.server->stats(fixture.connected[0].connection)->streams == 0);
}

TEST_CASE("tunnel stream: beyond the limit opening says so and later succeeds", "[tunnel][stream]") {
  tunnel::ServerOptions options;
  options.transport.max_streams = 4;
  TunnelFixture fixture(test_seed(), options, either_kind());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  std::vector<StreamId> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(client.core->open_tcp(target("10.99.0.5:22")).value());

  const auto fifth = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE_FALSE(fifth);
  CHECK(fifth.error().code == tunnel::Errc::kLimit);

  client.core->reset(streams[0], tunnel::kRequestCancelled);
  CHECK(fixture.wire->run_for(2s, [&] { return client.core->open_tcp(target("10.99.0.5:22")).has_value(); }));
}

TEST_CASE("tunnel stream: calls with unknown streams do nothing", "[tunnel][stream]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open_tcp(fixture);
  const auto number = GENERATE(std::int64_t{-1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{400});
  CAPTURE(number);
  for (tunnel::Streams* const end :
       {static_cast<tunnel::Streams*>(opened.client.core.get()), static_cast<tunnel::Streams*>(fixture.server.get())}) {
    const StreamId unknown{opened.at_server.connection, number};
    CHECK(end->write(unknown, as_bytes("x")) == 0);
    CHECK(end->peek(unknown).empty());
    end->consume(unknown, 1);
    end->commit(unknown, 0);
    end->shutdown_write(unknown);
    end->reset(unknown, 0);
    CHECK(end->send_datagram(unknown, as_bytes("x")) == tunnel::DatagramResult::kNotAllowed);
    CHECK_FALSE(end->send_capsule(unknown, tunnel::AddressAssign{}));
  }
  CHECK(fixture.server->write({{99}, 0}, as_bytes("x")) == 0);
  fixture.wire->run_for(1s);
  CHECK_FALSE(opened.client.closed);
}

TEST_CASE("tunnel stream: requests taken back before a single octet left give their streams back", "[tunnel][stream]") {
  tunnel::ServerOptions options;
  options.transport.max_streams = 8;
  options.reset_burst = 1000;
  TunnelFixture fixture(test_seed(), options, either_kind());
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  int opened = 0;
  for (int round = 0; round < 5000 && opened < 100; ++round) {
    if (const auto stream = client.core->open_tcp(target("10.99.0.5:22"))) {
      client.core->reset(*stream, tunnel::kRequestCancelled);  // RESET_STREAM without HEADERS, or nothing
      ++opened;
    }
    fixture.wire->run_for(10ms);
  }
  REQUIRE(opened == 100);
  CHECK(fixture.requests.empty());
  fixture.wire->run_for(1s);
  CHECK(client.core->stats().streams == 0);
  CHECK(client.core->open_tcp(target("10.99.0.5:22")));
  CHECK_FALSE(client.closed);
}

TEST_CASE("tunnel stream: a client that keeps taking requests back is cut off", "[tunnel][stream]") {
  tunnel::ServerOptions options;
  options.reset_burst = 20;
  options.resets_per_second = 1;
  TunnelFixture fixture(test_seed(), options, either_kind());
  fixture.accepts = false;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));

  REQUIRE(fixture.wire->run_for(10s, [&] {
    if (const auto stream = client.core->open_tcp(target("10.99.0.5:22"))) {
      fixture.wire->flush();
      client.core->reset(*stream, tunnel::kRequestCancelled);
      fixture.wire->flush();
    }
    return client.closed.has_value();
  }));
  CHECK(client.closed->code == tunnel::Errc::kProtocol);
  REQUIRE(fixture.disconnected.size() == 1);
  CHECK(fixture.disconnected[0].error.code == tunnel::Errc::kLimit);
}
