// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::DatagramResult;
using tunnel::StreamId;

namespace {

// What both kinds of tunnel do alike.
TunnelFixture::Kind either_kind() { return GENERATE(TunnelFixture::Kind::kQuic, TunnelFixture::Kind::kTls); }

struct Opened {
  ClientSide& client;
  StreamId at_client;
  StreamId at_server;
};

Opened open(TunnelFixture& fixture, tunnel::Protocol protocol, TunnelFixture::ClientSetup setup = {}) {
  ClientSide& client = fixture.add_client(setup);
  REQUIRE(fixture.connect(client));
  const auto stream =
      protocol == tunnel::Protocol::kUdp ? client.core->open_udp(target("[2001:db8::7]:53")) : client.core->open_ip();
  REQUIRE(stream);
  REQUIRE(fixture.answered(client, *stream));
  REQUIRE(client.streams[stream->number].status == 200);
  return {client, *stream, fixture.requests.back().stream};
}

}  // namespace

TEST_CASE("tunnel datagram: CONNECT-UDP names its target and carries payloads both ways", "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kUdp);
  CHECK(fixture.requests[0].protocol == tunnel::Protocol::kUdp);
  CHECK(fixture.requests[0].target == target("[2001:db8::7]:53"));

  const auto size = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{1100}, std::size_t{1350}, std::size_t{1500});
  CAPTURE(size);
  fixture.wire->run_for(2s);  // MTU discovery
  const ByteBuffer payload = pattern(size, 1);
  REQUIRE(opened.client.core->send_datagram(opened.at_client, payload) == DatagramResult::kQueued);
  REQUIRE(fixture.server->send_datagram(opened.at_server, payload) == DatagramResult::kQueued);

  REQUIRE(fixture.wire->run_for(2s, [&] {
    return !fixture.streams[opened.at_server].datagrams.empty() &&
           !opened.client.streams[opened.at_client.number].datagrams.empty();
  }));
  CHECK(fixture.streams[opened.at_server].datagrams[0] == payload);
  CHECK(opened.client.streams[opened.at_client.number].datagrams[0] == payload);
}

TEST_CASE("tunnel datagram: an inner packet of 1280 fits one QUIC datagram once the MTU is known",
          "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed());
  const Opened opened = open(fixture, tunnel::Protocol::kIp);
  fixture.wire->run_for(2s);
  CHECK(opened.client.quic().datagram_limit(opened.at_client) >= 1280);
  CHECK(fixture.quic().datagram_limit(opened.at_server) >= 1280);
}

TEST_CASE("tunnel datagram: on a narrow path a packet of 1280 goes as a capsule", "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed());
  TunnelFixture::ClientSetup setup;
  setup.wire.mtu = 1252;
  const Opened opened = open(fixture, tunnel::Protocol::kIp, setup);
  fixture.wire->run_for(2s);
  REQUIRE(opened.client.quic().datagram_limit(opened.at_client) < 1280);
  for (std::uint64_t i = 0; i < 50; ++i) {
    REQUIRE(opened.client.core->send_datagram(opened.at_client, pattern(1280, i)) == DatagramResult::kQueued);
  }
  REQUIRE(fixture.wire->run_for(5s, [&] { return fixture.streams[opened.at_server].datagrams.size() == 50; }));
  for (std::uint64_t i = 0; i < 50; ++i) CHECK(fixture.streams[opened.at_server].datagrams[i] == pattern(1280, i));
}

TEST_CASE("tunnel datagram: too large, unopened and TCP streams are refused", "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kUdp);
  CHECK(opened.client.core->send_datagram(opened.at_client, pattern(1501, 1)) == DatagramResult::kTooLarge);
  const auto tcp = opened.client.core->open_tcp(target("10.0.0.1:1"));
  CHECK(opened.client.core->send_datagram(*tcp, as_bytes("x")) == DatagramResult::kNotAllowed);
  const auto fresh = opened.client.core->open_udp(target("10.0.0.1:1"));
  CHECK(opened.client.core->send_datagram(*fresh, as_bytes("x")) == DatagramResult::kNotAllowed);
  opened.client.core->reset(opened.at_client, tunnel::kRequestCancelled);
  CHECK(opened.client.core->send_datagram(opened.at_client, as_bytes("x")) == DatagramResult::kNotAllowed);
}

TEST_CASE("tunnel datagram: a full send queue drops the newest and bounds memory", "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kIp);
  fixture.wire->run_for(2s);
  std::size_t queued = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const auto result = opened.client.core->send_datagram(opened.at_client, pattern(1280, i));
    if (result == DatagramResult::kQueued) ++queued;
  }
  CHECK(queued > 100);
  CHECK(queued <= 256);
  CHECK(opened.client.core->stats().datagrams_dropped_out == 10'000 - queued);
  REQUIRE(fixture.wire->run_for(5s, [&] { return fixture.streams[opened.at_server].datagrams.size() == queued; }));
  CHECK(fixture.streams[opened.at_server].datagrams[0] == pattern(1280, 0));
}

TEST_CASE("tunnel datagram: streams and datagrams share the path", "[tunnel][datagram]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kIp);
  const auto tcp = opened.client.core->open_tcp(target("10.0.0.1:1"));
  REQUIRE(fixture.answered(opened.client, *tcp));
  const StreamId tcp_at_server = fixture.requests.back().stream;
  const ByteBuffer bytes = pattern(2'000'000, 3);
  std::size_t sent = 0;
  std::size_t queued = 0;

  REQUIRE(fixture.wire->run_for(60s, [&] {
    sent += opened.client.core->write(*tcp, ByteView{bytes}.subspan(sent));
    const auto result = opened.client.core->send_datagram(opened.at_client, pattern(1000, 1));
    if (result == DatagramResult::kQueued) ++queued;
    fixture.wire->flush();
    return fixture.streams[tcp_at_server].bytes.size() == bytes.size();
  }));
  CHECK(fixture.streams[tcp_at_server].bytes == bytes);
  CHECK(queued > 5);
  fixture.wire->run_for(1s);
  CHECK(fixture.streams[opened.at_server].datagrams.size() == queued);
}

TEST_CASE("tunnel capsule: addresses and routes reach the other end", "[tunnel][capsule]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kIp);
  const tunnel::AddressRequest request{{{1, IpPrefix::parse("0.0.0.0/32").value()}}};
  const tunnel::AddressAssign assign{{{1, IpPrefix::parse("10.200.0.2/32").value()}}};
  const auto routes = tunnel::make_route_advertisement({tunnel::range_of(IpPrefix::parse("10.99.0.0/24").value())});
  REQUIRE(routes);

  REQUIRE(opened.client.core->send_capsule(opened.at_client, request));
  REQUIRE(fixture.server->send_capsule(opened.at_server, assign));
  REQUIRE(fixture.server->send_capsule(opened.at_server, *routes));

  StreamRecord& at_client = opened.client.streams[opened.at_client.number];
  REQUIRE(fixture.wire->run_for(2s, [&] {
    return at_client.capsules.size() == 2 && fixture.streams[opened.at_server].capsules.size() == 1;
  }));
  CHECK(fixture.streams[opened.at_server].capsules == std::vector<tunnel::ControlCapsule>{request});
  CHECK(at_client.capsules == std::vector<tunnel::ControlCapsule>{assign, *routes});
}

TEST_CASE("tunnel capsule: what breaks the rules is not sent", "[tunnel][capsule]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  const Opened opened = open(fixture, tunnel::Protocol::kIp);
  const tunnel::AddressRequest empty;
  const auto result = opened.client.core->send_capsule(opened.at_client, empty);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == tunnel::Errc::kInvalid);
}

TEST_CASE("tunnel capsule: capsules sent with the request wait for the answer", "[tunnel][capsule]") {
  TunnelFixture fixture(test_seed(), {}, either_kind());
  fixture.accepts = false;
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  const auto stream = client.core->open_ip();
  const tunnel::AddressRequest request{{{1, IpPrefix::parse("::/128").value()}}};
  REQUIRE(client.core->send_capsule(*stream, request));
  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.requests.empty(); }));
  fixture.server->accept(fixture.requests[0].stream);
  REQUIRE(fixture.wire->run_for(2s, [&] { return !fixture.streams[fixture.requests[0].stream].capsules.empty(); }));
  CHECK(fixture.streams[fixture.requests[0].stream].capsules[0] == tunnel::ControlCapsule{request});
}
