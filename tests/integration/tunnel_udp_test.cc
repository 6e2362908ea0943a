// SPDX-License-Identifier: Apache-2.0
// Client and gateway over real loopback UDP with trains (GSO, GRO) and real timers.
#include <catch2/catch_test_macros.hpp>

#include <natt/spa/connection_id.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/server.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

#include "integration/uv_loop.h"
#include "support/test_pki.h"

using namespace natt;
using namespace natt::test;

namespace {

constexpr PathId kPath{1};

// Socket, timer, core: handle, then flush.
template <typename Core>
class End final : uv::UdpSocket::Listener, uv::Timer::Listener {
 public:
  End(uv_loop_t& loop, Core& core, std::function<void()> events)
      : core_(core), events_(std::move(events)), timer_(loop, *this) {
    auto opened = uv::UdpSocket::open(loop, {.bind = *SocketAddress::parse("127.0.0.1:0")}, *this);
    REQUIRE(opened);
    socket_ = std::move(*opened);
  }
  ~End() override = default;
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  SocketAddress remote;
  [[nodiscard]] SocketAddress local() const { return socket_->local_address(); }
  [[nodiscard]] const uv::UdpSocket::Stats& stats() const { return socket_->stats(); }
  void flush(Instant now) {
    events_();
    while (core_.poll_batch(now, *batch_)) {
      // What the socket does not take is lost on the way, which is what this test's QUIC is for.
      static_cast<void>(socket_->send({.to = remote, .from = {}, .header = {}, .bytes = batch_->bytes(),
                                       .segment_size = batch_->segment_size(), .ecn = batch_->ecn()}));
    }
    timer_.arm(core_.next_deadline());
  }

 private:
  void on_train(Instant now, const uv::ReceivedTrain& train) override {
    remote = train.from;
    for (ByteView rest = train.bytes; !rest.empty();) {
      const ByteView packet = rest.first(std::min(train.segment_size, rest.size()));
      core_.handle_packet(now, kPath, train.ecn, packet);
      rest = rest.subspan(packet.size());
    }
  }
  void on_receive_done(Instant now) override { flush(now); }
  void on_writable(Instant now) override { flush(now); }
  void on_timer(Instant now) override {
    core_.handle_timeout(now);
    flush(now);
  }

  Core& core_;
  std::function<void()> events_;
  std::unique_ptr<uv::UdpSocket> socket_;
  uv::Timer timer_;
  std::unique_ptr<tunnel::PacketBatch> batch_ = std::make_unique<tunnel::PacketBatch>();
};

class AliceGate final : public tunnel::InitialGate {
 public:
  explicit AliceGate(Identity alice) : alice_(std::move(alice)) {}
  std::optional<tunnel::Admission> admit(Instant, const tunnel::InitialInfo&, PathId) override {
    std::optional<tunnel::Admission> admission(std::in_place);
    admission->identity = alice_;
    admission->expectation.site = "hq";
    admission->wall_now = kTestNow;
    return admission;
  }

 private:
  Identity alice_;
};

}  // namespace

TEST_CASE("tunnel over UDP: 20 MB come back unchanged", "[tunnel][integration]") {
  UvLoop loop;
  TestPki pki;
  SeededRandom random(test_seed());
  AliceGate gate(pki.identity(Role::kClient, "alice"));
  const spa::ConnectionIdKey ids(random);
  const auto server_tls = std::move(*TlsContext::make(pki.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, "h3"));
  const auto client_tls = std::move(*TlsContext::make(pki.credentials(Role::kClient, "alice"), TlsDirection::kClient, "h3"));
  const auto server = std::move(*tunnel::Server::make(*server_tls, gate, ids, random));
  tunnel::ClientOptions options;
  options.expectation.site = "hq";
  options.expectation.identity = pki.identity(Role::kGateway, "gw1");
  options.dcid = ByteBuffer(16, 1);
  options.scid = ByteBuffer(8, 2);
  options.path = kPath;
  const auto client = std::move(*tunnel::Client::make(uv::now(), kTestNow, *client_tls, random, options));

  ByteBuffer sent(20'000'000);
  random.fill(sent);
  ByteBuffer received;
  received.reserve(sent.size());
  std::size_t written = 0;
  std::optional<tunnel::StreamId> stream;
  bool finished = false;

  // The gateway's echo holds nothing back: it consumes what it could pass on.
  std::optional<tunnel::StreamId> at_server;
  bool server_finished = false;
  const auto serve = [&] {
    while (const auto event = server->poll_event()) {
      if (const auto* const request = std::get_if<tunnel::Request>(&*event)) server->accept(*(at_server = request->stream));
      if (std::holds_alternative<tunnel::Finished>(*event)) server_finished = true;
    }
    if (!at_server) return;
    for (ByteView bytes = server->peek(*at_server); !bytes.empty(); bytes = server->peek(*at_server)) {
      const std::size_t count = server->write(*at_server, bytes);
      server->consume(*at_server, count);
      if (count == 0) break;
    }
    if (server_finished) server->shutdown_write(*at_server);
  };
  const auto use = [&] {
    while (const auto event = client->poll_event()) {
      if (std::holds_alternative<tunnel::Connected>(*event)) stream = *client->open_tcp(*tunnel::Authority::parse("echo:7"));
      if (std::holds_alternative<tunnel::Finished>(*event)) finished = true;
    }
    if (!stream) return;
    written += client->write(*stream, ByteView{sent}.subspan(written));
    if (written == sent.size()) client->shutdown_write(*stream);
    for (ByteView bytes = client->peek(*stream); !bytes.empty(); bytes = client->peek(*stream)) {
      received.insert(received.end(), bytes.begin(), bytes.end());
      client->consume(*stream, bytes.size());
    }
  };
  End<tunnel::Server> gateway_end(loop.get(), *server, serve);
  End<tunnel::Client> client_end(loop.get(), *client, use);
  client_end.remote = gateway_end.local();
  client_end.flush(uv::now());

  REQUIRE(loop.run_until([&] { return finished; }, 30'000));
  CHECK(received == sent);
  // Packets left in trains, not one by one.
  CHECK(client_end.stats().datagrams_sent > 4 * client_end.stats().trains_sent);
}
