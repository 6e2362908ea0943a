// SPDX-License-Identifier: Apache-2.0
// What only a tunnel over TLS has: the first record, TCP connections that end, output that
// waits, and PING. What it has in common with QUIC is tested there, over both.
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/errc.h>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;

namespace {

constexpr auto kTls = TunnelFixture::Kind::kTls;
// Record header, alert, its type and the tag (RFC 8446 section 5.2).
constexpr std::size_t kCloseNotify = 5 + 2 + 1 + 16;

}  // namespace

TEST_CASE("tunnel over tls: client and gateway know each other after the handshake", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();

  REQUIRE(fixture.connect(client));

  CHECK(client.connected == fixture.pki.identity(Role::kGateway, "gw1"));
  REQUIRE(fixture.connected.size() == 1);
  CHECK(fixture.connected[0].identity == fixture.pki.identity(Role::kClient, "alice"));
  CHECK(fixture.connected[0].serial == fixture.pki.credentials(Role::kClient, "alice").serial());
  CHECK_FALSE(fixture.connected[0].path);
  CHECK(tunnel::protocol_of(fixture.connected[0].connection) == tunnel::TunnelProtocol::kTls);
  CHECK(fixture.over_tls().stats().connections == 1);
}

TEST_CASE("tunnel over tls: the client's first record is its hello, for as many connections as are tried",
          "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  tunnel::TlsClient& core = client.over_tls();
  const ByteBuffer hello(core.client_hello().begin(), core.client_hello().end());

  REQUIRE(hello.size() > 5);
  CHECK(hello[0] == 22);  // handshake record
  CHECK(hello.size() == 5 + (std::size_t{hello[3]} << 8 | hello[4]));
  const ByteView out = core.output(fixture.wire->now());
  CHECK(ByteBuffer(out.begin(), out.end()) == hello);
  const ByteView again = core.client_hello();
  CHECK(ByteBuffer(again.begin(), again.end()) == hello);
  CHECK(fixture.connect(client));
}

TEST_CASE("tunnel over tls: whoever does not offer h2 is refused", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  TunnelFixture::ClientSetup setup;
  setup.alpn = GENERATE("", "h3", "http/1.1");
  CAPTURE(setup.alpn);
  ClientSide& client = fixture.add_client(setup);

  REQUIRE(fixture.wire->run_for(5s, [&] { return client.closed.has_value(); }));

  CHECK(client.closed->code == tunnel::Errc::kHandshake);
  CHECK_FALSE(client.confirmed);
  CHECK(fixture.connected.empty());
  fixture.wire->run_for(1s);
  CHECK(fixture.handshakes_failed() == 1);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel over tls: streams may be opened as soon as TLS is complete", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.wire->run_for(5s, [&] { return client.connected.has_value(); }));
  REQUIRE_FALSE(client.confirmed);

  const auto tcp = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(tcp);
  const auto udp = client.core->open_udp(target("10.99.0.5:53"));  // before the gateway's SETTINGS
  REQUIRE_FALSE(udp);
  CHECK(udp.error().code == tunnel::Errc::kLimit);

  CHECK(fixture.answered(client, *tcp));
  CHECK(client.confirmed);
  CHECK(client.core->open_udp(target("10.99.0.5:53")));
}

TEST_CASE("tunnel over tls: every cut of the bytes gives the same", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  fixture.tcp().link(client.over_tls()).piece = GENERATE(1u, 2u, 3u, 7u, 1000u, 16384u);
  REQUIRE(fixture.connect(client));
  const auto tcp = client.core->open_tcp(target("10.99.0.5:22"));
  const auto udp = client.core->open_udp(target("10.99.0.5:53"));
  REQUIRE(fixture.answered(client, *udp));
  const ByteBuffer bytes = pattern(50'000, 1);
  std::size_t sent = 0;
  REQUIRE(client.core->send_datagram(*udp, pattern(1500, 2)) == tunnel::DatagramResult::kQueued);

  REQUIRE(fixture.wire->run_for(5s, [&] {
    sent += client.core->write(*tcp, ByteView{bytes}.subspan(sent));
    if (sent == bytes.size()) client.core->shutdown_write(*tcp);
    return client.streams[tcp->number].closed;
  }));

  CHECK(client.streams[tcp->number].bytes == bytes);
  CHECK(fixture.streams[fixture.requests[1].stream].datagrams == std::vector<ByteBuffer>{pattern(1500, 2)});
}

TEST_CASE("tunnel over tls: a TCP connection that breaks ends both ends at once", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));

  const natt::Errc code = GENERATE(natt::Errc::kTimeout, natt::Errc::kClosed, natt::Errc::kIo,
                                   natt::Errc::kUnavailable, natt::Errc::kRefused);
  const tunnel::Errc expected = code == natt::Errc::kTimeout ? tunnel::Errc::kTimeout : tunnel::Errc::kIo;
  CAPTURE(make_error_code(code).message());
  fixture.tcp().cut(fixture.tcp().link(client.over_tls()), {code, "no route"});
  fixture.wire->run_for(1ms);

  REQUIRE(client.closed);
  CHECK(client.closed->code == expected);
  CHECK(client.closed->message == "the TCP connection ended: no route");
  REQUIRE(fixture.disconnected.size() == 1);
  CHECK(fixture.disconnected[0].error.code == expected);
  CHECK(fixture.disconnected[0].error.message == "the TCP connection ended: no route");
  CHECK(fixture.server->is_idle());
  CHECK_FALSE(fixture.server->next_deadline());
  CHECK_FALSE(client.core->next_deadline());
  REQUIRE(client.core->is_closed());
  // "dead without further events": nothing goes in, and nothing comes.
  CHECK(client.core->reserve(*stream).empty());
  CHECK(client.core->write(*stream, as_bytes("x")) == 0);
  CHECK(client.core->send_datagram(*stream, as_bytes("x")) == tunnel::DatagramResult::kNotAllowed);
  CHECK_FALSE(client.core->open_tcp(target("10.99.0.5:22")));
  client.core->shutdown_write(*stream);
  client.core->reset(*stream, tunnel::kRequestCancelled);
  CHECK_FALSE(client.core->poll_event());
}

TEST_CASE("tunnel over tls: a TCP connection that breaks in the handshake is no farewell either", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  fixture.wire->run_for(GENERATE(0ms, 15ms, 25ms));
  REQUIRE_FALSE(client.confirmed);

  fixture.tcp().cut(fixture.tcp().link(client.over_tls()));
  fixture.wire->run_for(1ms);

  REQUIRE(client.closed);
  CHECK(client.closed->code == tunnel::Errc::kIo);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel over tls: an end behind the peer's reason is the farewell that it is", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  fixture.tcp().link(client.over_tls()).tap = [](bool to_server, ByteBuffer& bytes) {
    if (!to_server) bytes.resize(bytes.size() - kCloseNotify);
  };

  fixture.server->close(fixture.wire->now(), fixture.connected[0].connection, "restart");
  REQUIRE(fixture.wire->run_for(1s, [&] { return client.closed.has_value(); }));

  CHECK(client.closed->code == tunnel::Errc::kClosed);
  CHECK(client.closed->message == "closed by the peer: restart");
}

TEST_CASE("tunnel over tls: a damaged octet anywhere ends the tunnel and changes nothing", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  fixture.echoes = true;
  ClientSide& client = fixture.add_client();
  const bool at_server = GENERATE(true, false);
  const std::size_t skip = GENERATE(0u, 1u, 5u, 100u, 2000u, 9000u);
  CAPTURE(at_server, skip);
  std::size_t seen = 0;
  fixture.tcp().link(client.over_tls()).tap = [&](bool to_server, ByteBuffer& bytes) {
    if (to_server != at_server) return;
    if (skip >= seen && skip < seen + bytes.size()) bytes[skip - seen] ^= 0x10;
    seen += bytes.size();
  };
  std::optional<tunnel::StreamId> stream;
  const ByteBuffer bytes = pattern(30'000, 1);
  std::size_t sent = 0;

  REQUIRE(fixture.wire->run_for(30s, [&] {
    if (!stream && client.connected) stream = client.core->open_tcp(target("10.99.0.5:22")).value();
    if (stream) sent += client.core->write(*stream, ByteView{bytes}.subspan(sent));
    return client.closed.has_value();
  }));

  fixture.wire->run_for(30s);
  CHECK(fixture.server->is_idle());
  for (const auto& [id, record] : fixture.streams) {
    CHECK(std::equal(record.bytes.begin(), record.bytes.end(), bytes.begin()));
  }
}

TEST_CASE("tunnel over tls: output never holds more than 64 KiB, whatever waits in streams", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto first = client.core->open_tcp(target("10.99.0.5:22"));
  const auto second = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *second));
  REQUIRE(client.core->write(*first, pattern(1'000'000, 1)) > 300'000);
  REQUIRE(client.core->write(*second, pattern(1'000'000, 2)) > 300'000);

  tunnel::TlsClient& core = client.over_tls();
  for (int i = 0; i < 5; ++i) CHECK(core.output(fixture.wire->now()).size() <= 64 * 1024);
  const std::size_t waiting = core.output(fixture.wire->now()).size();
  CHECK(waiting > 48 * 1024);
  core.consume_output(10'000);
  CHECK(core.output(fixture.wire->now()).size() <= 64 * 1024);
}

TEST_CASE("tunnel over tls: a gateway behind a full socket keeps its streams' bytes to a bound", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_tcp(target("10.99.0.5:22"));
  REQUIRE(fixture.answered(client, *stream));
  const tunnel::StreamId at_server = fixture.requests[0].stream;
  fixture.tcp().link(client.over_tls()).stalled = true;
  const ByteBuffer bytes = pattern(3'000'000, 1);
  std::size_t sent = 0;

  fixture.wire->run_for(5s, [&] {
    sent += fixture.server->write(at_server, ByteView{bytes}.subspan(sent));
    fixture.wire->flush();
    return false;
  });
  CHECK(sent < 1'500'000);

  fixture.tcp().link(client.over_tls()).stalled = false;
  REQUIRE(fixture.wire->run_for(5s, [&] {
    sent += fixture.server->write(at_server, ByteView{bytes}.subspan(sent));
    fixture.wire->flush();
    return client.streams[stream->number].bytes.size() == bytes.size();
  }));
  CHECK(client.streams[stream->number].bytes == bytes);
  CHECK(fixture.streams[at_server].writable);
}

TEST_CASE("tunnel over tls: what is no TLS ends the handshake at either end", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  const std::string_view bytes = GENERATE("GET / HTTP/1.1\r\n\r\n", "\x17\x03\x03\x48\x01 a record beyond 2^14 + 256",
                                          "\x16\x03\x03\xff\xff", "\x15\x03\x03\x01\x02\x02\x28");
  const bool at_server = GENERATE(true, false);
  bool replaced = false;
  fixture.tcp().link(client.over_tls()).tap = [&](bool to_server, ByteBuffer& out) {
    if (to_server != at_server || std::exchange(replaced, true)) return;
    const ByteView view = as_bytes(bytes);
    out.assign(view.begin(), view.end());
    out.resize(20'000);
  };

  REQUIRE(fixture.wire->run_for(11s, [&] { return client.closed.has_value(); }));

  CHECK_FALSE(client.connected);
  fixture.wire->run_for(11s);
  CHECK(fixture.connected.empty());
  CHECK(fixture.handshakes_failed() == 1);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("tunnel over tls: streams that are full all the time take turns", "[tunnel][tls]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const bool upload = GENERATE(true, false);
  CAPTURE(upload);
  std::vector<tunnel::StreamId> streams;
  for (int i = 0; i < 4; ++i) {
    streams.push_back(client.core->open_tcp(target("10.99.0.5:22")).value());
    REQUIRE(fixture.answered(client, streams.back()));
  }
  const ByteBuffer block = pattern(200'000, 1);
  const auto received = [&](std::size_t i) {
    return upload ? fixture.streams[fixture.requests[i].stream].bytes.size() : client.streams[streams[i].number].bytes.size();
  };

  REQUIRE(fixture.wire->run_for(60s, [&] {
    for (std::size_t i = 0; i < streams.size(); ++i) {
      static_cast<void>(upload ? client.core->write(streams[i], block)
                               : fixture.server->write(fixture.requests[i].stream, block));
    }
    fixture.wire->flush();
    return received(0) > 4'000'000;
  }));

  for (std::size_t i = 1; i < streams.size(); ++i) CHECK(received(i) > 2'000'000);
}
