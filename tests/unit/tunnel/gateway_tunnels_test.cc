// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include <catch2/catch_test_macros.hpp>

#include "src/uv/gateway/gateway_tunnels.h"

using namespace natt;
using namespace natt::tunnel;
using tunnel::uv::GatewayTunnels;

namespace {

// Notes what it is asked, and says what the test lays before it.
class NotedTunnels final : public ServerTunnels {
 public:
  explicit NotedTunnels(std::uint64_t first) : first_(first) {}
  std::deque<std::uint64_t> events;     // connections that came
  std::deque<std::uint64_t> datagrams;  // connections that they came from
  std::vector<std::string> calls;
  std::optional<Instant> deadline;
  bool idle = true;

  void handle_timeout(Instant) override { calls.emplace_back("timeout"); }
  std::optional<Instant> next_deadline() const override { return deadline; }
  std::optional<ServerEvent> poll_event() override {
    if (events.empty()) return std::nullopt;
    ClientConnected event{.connection = {events.front()}, .identity = {}, .path = {}, .serial = {}};
    events.pop_front();
    return event;
  }
  void accept(StreamId stream) override { note("accept", stream.connection); }
  void reject(StreamId stream, int, std::string_view) override { note("reject", stream.connection); }
  void set_keep_alive(ConnectionId connection, Duration) override { note("keep_alive", connection); }
  void close(Instant, ConnectionId connection, std::string_view) override { note("close", connection); }
  void close_all(Instant, const Identity&, std::string_view) override { calls.emplace_back("close_all"); }
  void drain(Instant) override { calls.emplace_back("drain"); }
  bool is_idle() const override { return idle; }
  std::optional<ConnectionStats> stats(ConnectionId) const override { return ConnectionStats{.bytes_in = first_}; }
  MutableBytes reserve(StreamId stream) override {
    note("reserve", stream.connection);
    return {};
  }
  void commit(StreamId stream, std::size_t) override { note("commit", stream.connection); }
  void shutdown_write(StreamId stream) override { note("shutdown_write", stream.connection); }
  ByteView peek(StreamId) const override { return {&octet_, 1}; }
  void consume(StreamId stream, std::size_t) override { note("consume", stream.connection); }
  void reset(StreamId stream, std::uint64_t) override { note("reset", stream.connection); }
  DatagramResult send_datagram(StreamId stream, ByteView) override {
    note("send_datagram", stream.connection);
    return DatagramResult::kQueued;
  }
  std::optional<Datagram> poll_datagram() override {
    if (datagrams.empty()) return std::nullopt;
    const Datagram datagram{{{datagrams.front()}, 0}, {}};
    datagrams.pop_front();
    return datagram;
  }
  Result<void> send_capsule(StreamId stream, const ControlCapsule&) override {
    note("send_capsule", stream.connection);
    return {};
  }
  const std::uint8_t* octet() const { return &octet_; }

 private:
  // What is not this one's connection is a fault.
  void note(std::string what, ConnectionId connection) {
    CHECK(protocol_of(connection) == protocol_of({first_}));
    calls.push_back(std::move(what));
  }
  std::uint64_t first_;
  std::uint8_t octet_ = 0;
};

void call_everything(ServerTunnels& tunnels, ConnectionId connection) {
  const StreamId stream{connection, 4};
  tunnels.accept(stream);
  tunnels.reject(stream, 403, "");
  tunnels.set_keep_alive(connection, {});
  tunnels.close({}, connection, "");
  static_cast<void>(tunnels.reserve(stream));
  tunnels.commit(stream, 1);
  tunnels.shutdown_write(stream);
  tunnels.consume(stream, 1);
  tunnels.reset(stream, 0);
  static_cast<void>(tunnels.send_datagram(stream, {}));
  static_cast<void>(tunnels.send_capsule(stream, AddressAssign{}));
}

constexpr ConnectionId kQuicOne{7};
constexpr ConnectionId kTlsOne{kTlsConnection | 7};

}  // namespace

TEST_CASE("gateway tunnels: each call goes to the server that made the connection", "[tunnel][gateway]") {
  NotedTunnels quic(1);
  NotedTunnels tls(kTlsConnection | 1);
  GatewayTunnels both(quic, &tls);

  call_everything(both, kQuicOne);
  CHECK(quic.calls.size() == 11);
  CHECK(tls.calls.empty());
  call_everything(both, kTlsOne);
  CHECK(quic.calls.size() == 11);
  CHECK(tls.calls == quic.calls);
  CHECK(both.peek({kQuicOne, 0}).data() == quic.octet());
  CHECK(both.peek({kTlsOne, 0}).data() == tls.octet());
  CHECK(both.stats(kQuicOne)->bytes_in == 1);
  CHECK(both.stats(kTlsOne)->bytes_in == (kTlsConnection | 1));
}

TEST_CASE("gateway tunnels: what concerns all tunnels goes to both servers", "[tunnel][gateway]") {
  NotedTunnels quic(1);
  NotedTunnels tls(kTlsConnection | 1);
  GatewayTunnels both(quic, &tls);

  both.handle_timeout({});
  both.close_all({}, {}, "");
  both.drain({});

  CHECK(quic.calls == std::vector<std::string>{"timeout", "close_all", "drain"});
  CHECK(tls.calls == quic.calls);
  CHECK(both.is_idle());
  tls.idle = false;
  CHECK_FALSE(both.is_idle());
  tls.idle = true;
  quic.idle = false;
  CHECK_FALSE(both.is_idle());
  CHECK_FALSE(both.next_deadline());
  quic.deadline = Instant{} + Duration(20);
  CHECK(both.next_deadline() == quic.deadline);
  tls.deadline = Instant{} + Duration(10);
  CHECK(both.next_deadline() == tls.deadline);
}

TEST_CASE("gateway tunnels: neither server's events or datagrams wait for the other's to end", "[tunnel][gateway]") {
  NotedTunnels quic(1);
  NotedTunnels tls(kTlsConnection | 1);
  GatewayTunnels both(quic, &tls);
  quic.events = quic.datagrams = {1, 2, 3, 4, 5};
  tls.events = tls.datagrams = {kTlsConnection | 1, kTlsConnection | 2};

  int from_tls = 0;
  for (int i = 0; i < 4; ++i) {
    const auto event = both.poll_event();
    REQUIRE(event);
    from_tls += protocol_of(std::get<ClientConnected>(*event).connection) == TunnelProtocol::kTls ? 1 : 0;
    const auto datagram = both.poll_datagram();
    REQUIRE(datagram);
    from_tls += protocol_of(datagram->stream.connection) == TunnelProtocol::kTls ? 1 : 0;
  }
  CHECK(from_tls == 4);
  for (int i = 0; i < 3; ++i) {
    CHECK(both.poll_event());
    CHECK(both.poll_datagram());
  }
  CHECK_FALSE(both.poll_event());
  CHECK_FALSE(both.poll_datagram());
}

TEST_CASE("gateway tunnels: in a QUIC site there is only the one server", "[tunnel][gateway]") {
  NotedTunnels quic(1);
  GatewayTunnels alone(quic, nullptr);
  quic.events = quic.datagrams = {1, 2};

  call_everything(alone, kQuicOne);
  alone.handle_timeout({});
  alone.close_all({}, {}, "");
  alone.drain({});

  CHECK(quic.calls.size() == 14);
  CHECK((alone.poll_event() && alone.poll_event() && !alone.poll_event()));
  CHECK((alone.poll_datagram() && alone.poll_datagram() && !alone.poll_datagram()));
  CHECK(alone.is_idle());
  CHECK_FALSE(alone.next_deadline());
}
