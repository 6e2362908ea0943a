// SPDX-License-Identifier: Apache-2.0
// A client whose certificate is good and whose HTTP/2 is not: one reason, a GOAWAY, and it is over.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "unit/tunnel/foreign_peer.h"

using namespace natt;
using namespace natt::test;

namespace {

constexpr auto kTls = TunnelFixture::Kind::kTls;
enum : std::uint8_t { kData, kHeaders, kPriority, kReset, kSettings, kPush, kPing, kGoAway, kWindow, kContinuation };
constexpr std::uint8_t kEndStream = 1;
constexpr std::uint8_t kEndHeaders = 4;

ByteBuffer times(std::size_t count, const ByteBuffer& bytes) {
  ByteBuffer all;
  for (std::size_t i = 0; i < count; ++i) all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

ByteBuffer operator+(ByteBuffer first, const ByteBuffer& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

ByteBuffer number(std::uint32_t value) {
  ByteBuffer bytes(4);
  store_be(bytes.data(), value);
  return bytes;
}

ByteBuffer setting(std::uint16_t id, std::uint32_t value) {
  ByteBuffer bytes(2);
  store_be(bytes.data(), id);
  return bytes + number(value);
}

// What a client must not send; `frames` come behind a good preface.
struct Offence {
  const char* name;
  ByteBuffer frames;
  std::uint32_t code = NGHTTP2_PROTOCOL_ERROR;
};

std::vector<Offence> offences() {
  const ByteBuffer connect = h2_connect(1);
  const ByteBuffer large_fields = h2_fields({{"x", std::string(16'300, 'a')}});
  return {
      {"a frame larger than 16 KiB", h2_frame(kData, 0, 1, ByteBuffer(16'385)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"DATA on stream 0", h2_frame(kData, 0, 0, {1})},
      {"DATA on an idle stream", h2_frame(kData, 0, 7, {1})},
      {"padding longer than the frame", connect + h2_frame(kData, 8, 1, {9, 1, 2})},
      {"HEADERS on stream 0", h2_connect(0)},
      {"HEADERS on an even stream", h2_connect(2)},
      {"HPACK index 0", h2_frame(kHeaders, kEndHeaders, 1, {0x80}),
       NGHTTP2_COMPRESSION_ERROR},
      {"HPACK index beyond the tables", h2_frame(kHeaders, kEndHeaders, 1, {0xff, 0x80, 0x01}),
       NGHTTP2_COMPRESSION_ERROR},
      {"an HPACK string that is longer than the block", h2_frame(kHeaders, kEndHeaders, 1, {0x00, 0x7f, 0x61}),
       NGHTTP2_COMPRESSION_ERROR},
      {"CONTINUATION without HEADERS", h2_frame(kContinuation, kEndHeaders, 1, {})},
      {"another frame inside a header block", h2_connect(1, 0) + h2_frame(kPing, 0, 0, ByteBuffer(8))},
      {"SETTINGS on a stream", h2_frame(kSettings, 0, 1, {})},
      {"SETTINGS of five octets", h2_frame(kSettings, 0, 0, ByteBuffer(5)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"a SETTINGS acknowledgement with octets", h2_frame(kSettings, 1, 0, ByteBuffer(6)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"a window beyond 2^31-1 in SETTINGS", h2_frame(kSettings, 0, 0, setting(4, 0x80000000)),
       NGHTTP2_FLOW_CONTROL_ERROR},
      {"a frame size below 16384 in SETTINGS", h2_frame(kSettings, 0, 0, setting(5, 100))},
      {"more settings than there are", h2_frame(kSettings, 0, 0, times(40, setting(99, 1))),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"PUSH_PROMISE of a client", connect + h2_frame(kPush, kEndHeaders, 1, number(2))},
      {"PING of seven octets", h2_frame(kPing, 0, 0, ByteBuffer(7)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"PING on a stream", h2_frame(kPing, 0, 1, ByteBuffer(8))},
      {"RST_STREAM on stream 0", h2_frame(kReset, 0, 0, number(8))},
      {"RST_STREAM on an idle stream", h2_frame(kReset, 0, 1, number(8))},
      {"RST_STREAM of three octets", connect + h2_frame(kReset, 0, 1, ByteBuffer(3)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"WINDOW_UPDATE of 0 on the connection", h2_frame(kWindow, 0, 0, number(0))},
      {"WINDOW_UPDATE beyond 2^31-1", h2_frame(kWindow, 0, 0, number(0x7fffffff)),
       NGHTTP2_FLOW_CONTROL_ERROR},
      {"WINDOW_UPDATE of three octets", h2_frame(kWindow, 0, 0, ByteBuffer(3)),
       NGHTTP2_FRAME_SIZE_ERROR},
      {"GOAWAY on a stream", h2_frame(kGoAway, 0, 1, ByteBuffer(8))},
      {"a flood of CONTINUATION", h2_connect(1, 0) + times(10, h2_frame(kContinuation, 0, 1, {}))},
      {"a header section of 80 KiB", h2_frame(kHeaders, 0, 1, large_fields) +
                                         times(4, h2_frame(kContinuation, 0, 1, large_fields)),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of PING", times(2000, h2_frame(kPing, 0, 0, ByteBuffer(8))),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of PING answers", times(2000, h2_frame(kPing, 1, 0, ByteBuffer(8))),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of SETTINGS", times(2000, h2_frame(kSettings, 0, 0, {})),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of PRIORITY", times(2000, h2_frame(kPriority, 0, 1, ByteBuffer(5))),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of WINDOW_UPDATE", connect + times(2000, h2_frame(kWindow, 0, 1, number(1))),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of empty DATA", connect + times(2000, h2_frame(kData, 0, 1, {})),
       NGHTTP2_ENHANCE_YOUR_CALM},
      {"a flood of padding", connect + times(2000, h2_frame(kData, 8, 1, {1, 0})),
       NGHTTP2_ENHANCE_YOUR_CALM},
  };
}

}  // namespace

TEST_CASE("http2: a client that breaks the rules is told why and is over", "[tunnel][http2]") {
  static const std::vector<Offence> all = offences();
  const std::size_t index = GENERATE(range(std::size_t{0}, all.size()));
  const Offence& offence = all[index];
  CAPTURE(offence.name);
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);

  peer.write(h2_preface() + offence.frames);
  peer.exchange();

  const ByteBuffer goaway = peer.last_of(kGoAway);
  REQUIRE(goaway.size() >= 8);
  CHECK(load_be<std::uint32_t>(goaway.data() + 4) == offence.code);
  CHECK(peer.state() == TlsStream::State::kClosed);
  REQUIRE(fixture.disconnected.size() == 1);
  CHECK(fixture.disconnected[0].error.code == tunnel::Errc::kProtocol);
  CHECK(fixture.disconnected[0].error.message.starts_with("HTTP/2 error "));
  CHECK(fixture.server->is_idle());
}

TEST_CASE("http2: octets that are no HTTP/2 end the connection", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  const std::string_view text = GENERATE("GET / HTTP/1.1\r\nHost: gw1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n",
                                         "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n????PING?????");
  const ByteView bytes = as_bytes(text);
  peer.write({bytes.begin(), bytes.end()});
  peer.exchange();
  CHECK(peer.state() == TlsStream::State::kClosed);
  CHECK(fixture.disconnected.size() == 1);
  CHECK(fixture.server->is_idle());
}

TEST_CASE("http2: a client that takes its requests back, or has them reset, is cut off", "[tunnel][http2]") {
  tunnel::ServerOptions options;
  options.reset_burst = 20;
  options.resets_per_second = 1;
  TunnelFixture fixture(test_seed(), options, kTls);
  fixture.accepts = false;
  ForeignPeer peer(fixture);
  const bool itself = GENERATE(true, false);
  ByteBuffer frames = h2_preface();
  for (std::uint32_t stream = 1; stream < 100; stream += 2) {
    if (itself) {
      frames = frames + h2_connect(stream) + h2_frame(kReset, 0, stream, number(8));
    } else {  // no authority: the gateway does it (CVE-2025-8671)
      frames = frames + h2_frame(kHeaders, kEndHeaders, stream, h2_fields({{":method", "CONNECT"}}));
    }
  }

  peer.write(frames);
  peer.exchange();

  REQUIRE(fixture.disconnected.size() == 1);
  CHECK(fixture.disconnected[0].error.code == tunnel::Errc::kLimit);
  CHECK(load_be<std::uint32_t>(peer.last_of(kGoAway).data() + 4) == NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_CASE("http2: a malformed request costs its stream, not the connection", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  using Fields = std::vector<std::pair<std::string, std::string>>;
  const Fields fields = GENERATE(values<Fields>({
      {{":method", "CONNECT"}},                                               // no authority
      {{":method", "CONNECT"}, {":authority", "a:1"}, {":path", "/"}},        // RFC 9113 section 8.5
      {{":method", "CONNECT"}, {":authority", "a:1"}, {":scheme", "https"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"Upper", "case"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"connection", "close"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {":authority", "b:1"}},
      {{":method", "CONNECT"}, {"x", "y"}, {":authority", "a:1"}},            // pseudo-field behind a field
      {{":authority", "a:1"}},                                                // no method
      {{":method", "CONNECT"}, {":protocol", "connect-udp"}, {":authority", "hq"}},
  }));

  peer.write(h2_preface() + h2_frame(kHeaders, kEndHeaders, 1, h2_fields(fields)));
  peer.exchange();
  CHECK(peer.count_of(kReset) == 1);
  CHECK(fixture.requests.empty());

  peer.write(h2_connect(3));
  peer.exchange();
  CHECK(fixture.requests.size() == 1);
  CHECK(fixture.disconnected.empty());
}

TEST_CASE("http2: requests that are well-formed and not for us are refused with a status", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  peer.speak_nghttp2();
  const auto get = peer.request({{":method", "GET"}, {":scheme", "https"}, {":authority", "hq"}, {":path", "/"}}, {});
  const auto bad = peer.request({{":method", "CONNECT"}, {":authority", "no-port"}}, {});
  const auto other = peer.request({{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"},
                                   {":authority", "hq"}, {":path", "/chat"}}, {});
  const auto large = peer.request({{":method", "CONNECT"}, {":authority", "a:1"}, {"x", std::string(17'000, 'a')}}, {});
  peer.exchange();

  CHECK(peer.heard[get].fields[":status"] == "405");
  CHECK(peer.heard[bad].fields[":status"] == "400");
  CHECK(peer.heard[other].fields[":status"] == "501");
  CHECK(peer.heard[large].fields[":status"] == "431");
  CHECK(peer.heard[get].closed);
  CHECK(fixture.requests.empty());
  CHECK(fixture.disconnected.empty());
}

TEST_CASE("http2: trailers on a connected stream are an error of the stream", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  peer.write(h2_preface() + h2_connect(1));
  peer.exchange();
  REQUIRE(fixture.requests.size() == 1);

  peer.write(h2_frame(kHeaders, kEndHeaders | kEndStream, 1, h2_fields({{"x", "y"}})));
  peer.exchange();

  CHECK(peer.count_of(kReset) == 1);
  CHECK(fixture.streams[fixture.requests[0].stream].reset);
  CHECK(fixture.disconnected.empty());
}

TEST_CASE("http2: what a peer may send and nobody needs is ignored", "[tunnel][http2]") {
  TunnelFixture fixture(test_seed(), {}, kTls);
  ForeignPeer peer(fixture);
  peer.write(h2_preface() + h2_frame(0x77, 0xff, 0, {1, 2, 3}) + h2_frame(kSettings, 0, 0, setting(0x7777, 5)) +
             h2_frame(kPriority, 0, 9, ByteBuffer(5)) + h2_connect(11) + h2_connect(3) + times(5000, h2_frame(0x78, 0, 0, {1})) +
             h2_frame(0x10, 0, 0, number(11)) +
             h2_frame(kData, 8, 11, {3, 'h', 'i', 0, 0, 0}) + h2_frame(kWindow, 0, 0, number(1)));
  peer.exchange();
  REQUIRE(fixture.requests.size() == 1);
  CHECK(as_text(fixture.streams[fixture.requests[0].stream].bytes) == "hi");
  CHECK(fixture.disconnected.empty());
}
