// SPDX-License-Identifier: Apache-2.0
// A judge that is not ours: nghttp2 with its default settings at the other end, as client and as server.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/foreign_peer.h"

using namespace natt;
using namespace natt::test;

namespace {

constexpr auto kTls = TunnelFixture::Kind::kTls;

// A client of ours opposite a peer that is not: what it hears is in `side`.
struct Client {
  TestPki pki{"hq", 7};
  ClientSide side;

  Client() {
    side.tls = std::move(TlsContext::make(pki.credentials(Role::kClient, "alice"), TlsDirection::kClient, "h2").value());
    const tunnel::TlsClientOptions options{{"hq", Role::kGateway, pki.identity(Role::kGateway, "gw1")}, {}};
    const Instant now{std::chrono::seconds(1000)};
    side.core = std::move(tunnel::TlsClient::make(now, kTestNow, *side.tls, options).value());
  }
  [[nodiscard]] std::function<void()> step() {
    return [this] { side.drain_events(); };
  }
};

ByteBuffer operator+(ByteBuffer first, const ByteBuffer& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Blanks are for the reader.
ByteBuffer from_hex(std::string_view text) {
  ByteBuffer bytes;
  std::string digits(text);
  std::erase(digits, ' ');
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(digits.substr(at, 2), nullptr, 16)));
  }
  return bytes;
}

ByteBuffer bytes_of(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

}  // namespace

TEST_CASE("http2: nghttp2 as a client is served TCP both ways with half-close", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  fixture.echoes = true;
  ForeignPeer peer(fixture);
  peer.speak_nghttp2();
  const ByteBuffer body = pattern(300'000, 1);  // beyond its window of 65535

  const std::int32_t stream = peer.request({{":method", "CONNECT"}, {":authority", "10.0.0.1:22"}}, body);
  peer.heard[stream].fin_wanted = true;
  peer.exchange();

  CHECK(peer.largest_of(0) == 16'343);  // docs/WIRE.md 7.6
  REQUIRE(fixture.requests.size() == 1);
  CHECK(fixture.requests[0].target == target("10.0.0.1:22"));
  CHECK(peer.heard[stream].fields[":status"] == "200");
  CHECK(peer.heard[stream].data == body);
  CHECK(peer.heard[stream].ended);
  CHECK(peer.heard[stream].closed);
  CHECK(peer.heard[stream].close_code == NGHTTP2_NO_ERROR);
}

TEST_CASE("http2: the vector of WIRE.md is a request with two octets", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  peer.write(h2_preface());
  peer.write(from_hex("000029 01 04 00000001  00 07 3a6d6574686f64 07 434f4e4e454354"
                      "00 0a 3a617574686f72697479 0b 31302e302e302e313a3232"
                      "000002 00 01 00000001  6869"));
  peer.exchange();
  REQUIRE(fixture.requests.size() == 1);
  CHECK(fixture.requests[0].target == target("10.0.0.1:22"));
  CHECK(as_text(fixture.streams[fixture.requests[0].stream].bytes) == "hi");
  CHECK(fixture.streams[fixture.requests[0].stream].finished);
}

TEST_CASE("http2: nghttp2 as a client is served datagrams as capsules", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  peer.speak_nghttp2();
  CHECK(nghttp2_session_get_remote_settings(peer.http(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1);
  CHECK(nghttp2_session_get_remote_settings(peer.http(), NGHTTP2_SETTINGS_HEADER_TABLE_SIZE) == 0);
  CHECK(nghttp2_session_get_remote_settings(peer.http(), NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE) == 16'384);

  const std::int32_t stream =
      peer.request({{":method", "CONNECT"}, {":protocol", "connect-udp"}, {":scheme", "https"}, {":authority", "hq"},
                    {":path", "/.well-known/masque/udp/192.0.2.6/443/"}, {"capsule-protocol", "?1"}},
                   bytes_of(std::string_view("\x00\x04\x00" "abc", 6)));  // DATAGRAM, 4 octets, context 0
  peer.exchange();

  REQUIRE(fixture.requests.size() == 1);
  CHECK(fixture.requests[0].target == target("192.0.2.6:443"));
  CHECK(peer.heard[stream].fields["capsule-protocol"] == "?1");
  CHECK(fixture.streams[fixture.requests[0].stream].datagrams == std::vector<ByteBuffer>{bytes_of("abc")});
  REQUIRE(fixture.server->send_datagram(fixture.requests[0].stream, as_bytes("def")) == tunnel::DatagramResult::kQueued);
  peer.exchange();
  CHECK(peer.heard[stream].data == bytes_of(std::string_view("\x00\x04\x00" "def", 6)));
}

TEST_CASE("http2: nghttp2 as a client is told codes and reasons", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  fixture.accepts = false;
  ForeignPeer peer(fixture);
  peer.speak_nghttp2();
  const std::int32_t refused = peer.request({{":method", "CONNECT"}, {":authority", "10.0.0.1:22"}}, {});
  const std::int32_t broken = peer.request({{":method", "CONNECT"}, {":authority", "10.0.0.1:23"}}, {});
  const std::int32_t odd = peer.request({{":method", "CONNECT"}, {":authority", "10.0.0.1:24"}}, {});
  peer.exchange();
  REQUIRE(fixture.requests.size() == 3);

  fixture.server->reject(fixture.requests[0].stream, 403, "no rule");
  fixture.server->accept(fixture.requests[1].stream);
  peer.exchange();
  fixture.server->reset(fixture.requests[1].stream, tunnel::kConnectError);
  fixture.server->reset(fixture.requests[2].stream, 0x7777);
  peer.exchange();

  CHECK(peer.heard[refused].fields[":status"] == "403");
  CHECK(peer.heard[refused].fields["proxy-status"] == "natt; details=\"no rule\"");
  CHECK(peer.heard[refused].closed);
  CHECK(peer.heard[broken].close_code == NGHTTP2_CONNECT_ERROR);
  CHECK(peer.heard[odd].close_code == NGHTTP2_INTERNAL_ERROR);
}

TEST_CASE("http2: nghttp2 as a server serves our client", "[tunnel][http2]") {
  Client client;
  ForeignPeer peer(client.pki, client.side.over_tls(), client.step());
  REQUIRE(client.side.connected);
  CHECK_FALSE(client.side.confirmed);
  peer.speak_nghttp2();
  CHECK(client.side.confirmed);

  const auto tcp = client.side.core->open_tcp(target("10.0.0.1:22"));
  const auto udp = client.side.core->open_udp(target("10.0.0.1:53"));
  REQUIRE((tcp && udp));
  peer.exchange();
  REQUIRE(client.side.streams[tcp->number].status == 200);
  CHECK(peer.heard[static_cast<std::int32_t>(udp->number)].fields[":protocol"] == "connect-udp");
  const ByteBuffer bytes = pattern(400'000, 1);
  std::size_t sent = 0;
  for (int round = 0; round < 50 && sent < bytes.size(); ++round) {
    sent += client.side.core->write(*tcp, ByteView{bytes}.subspan(sent));
    peer.exchange();
  }
  client.side.core->shutdown_write(*tcp);
  REQUIRE(client.side.core->send_datagram(*udp, as_bytes("ping")) == tunnel::DatagramResult::kQueued);
  peer.exchange();

  CHECK(client.side.streams[tcp->number].bytes == bytes);
  CHECK(client.side.streams[tcp->number].closed);
  CHECK(client.side.streams[udp->number].datagrams == std::vector<ByteBuffer>{bytes_of("ping")});
}

TEST_CASE("http2: a server without extended CONNECT gets no datagrams of us", "[tunnel][http2]") {
  Client client;
  ForeignPeer peer(client.pki, client.side.over_tls(), client.step());
  peer.write(h2_frame(4, 0, 0, {}));
  peer.exchange();
  REQUIRE(client.side.confirmed);
  const auto udp = client.side.core->open_udp(target("10.0.0.1:53"));
  REQUIRE_FALSE(udp);
  CHECK(udp.error().code == tunnel::Errc::kRefused);
  CHECK(client.side.core->open_tcp(target("10.0.0.1:53")));
}

TEST_CASE("http2: a server that breaks the rules ends the tunnel with one reason", "[tunnel][http2]") {
  Client client;
  ForeignPeer peer(client.pki, client.side.over_tls(), client.step());
  REQUIRE(client.side.core->open_tcp(target("10.0.0.1:22")));
  const ByteBuffer settings = h2_frame(4, 0, 0, {});
  const ByteBuffer ok = h2_fields({{":status", "200"}});
  ByteBuffer promise{0, 0, 0, 2};
  promise.insert(promise.end(), ok.begin(), ok.end());
  const ByteBuffer frames = GENERATE_COPY(
      h2_frame(6, 0, 0, ByteBuffer(8)),             // PING before SETTINGS
      settings + h2_frame(5, 4, 1, promise),        // PUSH_PROMISE
      settings + h2_frame(1, 4, 2, ok),             // a stream of the server's
      settings + h2_frame(1, 4, 9, ok),             // an answer to nothing
      settings + h2_frame(0, 0, 1, ByteBuffer(20'000)));

  peer.write(frames);
  peer.exchange();

  REQUIRE(client.side.closed);
  CHECK(client.side.closed->code == tunnel::Errc::kProtocol);
  CHECK(peer.count_of(7) == 1);
  CHECK(peer.state() == TlsStream::State::kClosed);
}
