// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of a tunnel over QUIC on loopback UDP: socket, timer and core.

#include <unistd.h>
#include <uv.h>

#include <natt/credentials.h>
#include <natt/spa/connection_id.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/server.h>
#include <natt/uv/udp_socket.h>

#include "tunnel_load.h"

namespace natt::bench {

constexpr PathId kPath{1};

// Everybody is admitted: the knock has a bench of its own (spa_bench).
class OpenGate final : public tunnel::InitialGate {
 public:
  std::optional<tunnel::Admission> admit(Instant, const tunnel::InitialInfo&, PathId) override {
    const Identity alice{"bench", Role::kClient, "alice"};
    std::optional<tunnel::Admission> admission(std::in_place);
    admission->identity = alice;
    admission->expectation = {"bench", Role::kClient, {}};
    admission->wall_now = uv::wall_now();
    return admission;
  }
};

// Socket, timer and one core: handle, then flush.
template <typename Core, typename Load>
class Driver : private uv::UdpSocket::Listener, private uv::Timer::Listener {
 public:
  Driver(uv_loop_t& loop, const SocketAddress& bind) : timer_(loop, *this) {
    socket_ = value_or_die(uv::UdpSocket::open(loop, {.bind = bind}, *this));
  }
  ~Driver() override = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  Load load;
  void serve(Core* core) { core_ = core; }
  void set_remote(const SocketAddress& remote) { remote_ = remote; }
  [[nodiscard]] SocketAddress local() const { return socket_->local_address(); }

  void flush(Instant now) {
    if (core_ == nullptr) return;
    load.handle_events(*core_);
    send_bursts(now);
    timer_.arm(core_->next_deadline());
  }

 private:
  void on_train(Instant now, const uv::ReceivedTrain& train) override {
    remote_ = train.from;
    for (ByteView rest = train.bytes; !rest.empty() && core_ != nullptr;) {
      const std::size_t size = std::min(train.segment_size, rest.size());
      core_->handle_packet(now, kPath, train.ecn, rest.first(size));
      rest = rest.subspan(size);
    }
  }
  void on_receive_done(Instant now) override { flush(now); }
  void on_writable(Instant now) override { flush(now); }
  void on_timer(Instant now) override {
    if (core_ != nullptr) core_->handle_timeout(now);
    flush(now);
  }

  void send_bursts(Instant now) {
    if (!finish_burst()) return;
    while (core_->poll_batch(now, batch_)) {
      sent_ = 0;
      if (!finish_burst()) return;
    }
  }
  bool finish_burst() {
    const ByteView bytes = batch_.bytes();
    if (sent_ >= bytes.size()) return true;
    const uv::SendResult result = socket_->send({.to = remote_, .from = {}, .header = {}, .bytes = bytes.subspan(sent_),
                                                 .segment_size = batch_.segment_size(), .ecn = batch_.ecn()});
    sent_ += result.sent_bytes;
    if (result.status == uv::SendStatus::kBlocked) return false;
    batch_.clear();
    sent_ = 0;
    return true;
  }

  Core* core_ = nullptr;
  std::unique_ptr<uv::UdpSocket> socket_;
  uv::Timer timer_;
  SocketAddress remote_;
  tunnel::PacketBatch batch_;
  std::size_t sent_ = 0;
};

inline void serve_quic(const Credentials& credentials, int port_pipe) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  SystemRandom random;
  OpenGate gate;
  const spa::ConnectionIdKey ids(random);
  const auto tls = value_or_die(TlsContext::make(credentials, TlsDirection::kServer, "h3"));
  const auto server = value_or_die(tunnel::Server::make(*tls, gate, ids, random));
  Driver<tunnel::Server, GatewayLoad> driver(loop, *SocketAddress::parse("127.0.0.1:0"));
  driver.serve(server.get());
  const std::uint16_t port = driver.local().port;
  if (write(port_pipe, &port, sizeof(port)) != sizeof(port)) std::exit(1);
  uv_run(&loop, UV_RUN_DEFAULT);
}

class QuicClient {
 public:
  QuicClient(uv_loop_t& loop, const Credentials& credentials, std::uint16_t port)
      : driver_(loop, *SocketAddress::parse("127.0.0.1:0")) {
    SocketAddress remote = *SocketAddress::parse("127.0.0.1:1");
    remote.port = port;
    driver_.set_remote(remote);
    tls_ = value_or_die(TlsContext::make(credentials, TlsDirection::kClient, "h3"));
  }
  void connect() {
    tunnel::ClientOptions options;
    options.expectation = {"bench", Role::kGateway, Identity{"bench", Role::kGateway, "gw1"}};
    random_.fill(options.token);
    options.dcid.resize(16);
    options.scid.resize(8);
    random_.fill(options.dcid);
    random_.fill(options.scid);
    options.path = kPath;
    driver_.serve(nullptr);
    client_ = value_or_die(tunnel::Client::make(uv::now(), uv::wall_now(), *tls_, random_, options));
    driver_.serve(client_.get());
    driver_.flush(uv::now());
  }
  void flush() { driver_.flush(uv::now()); }
  [[nodiscard]] tunnel::ClientTunnel& core() { return *client_; }
  [[nodiscard]] ClientLoad& load() { return driver_.load; }

 private:
  SystemRandom random_;
  std::unique_ptr<TlsContext> tls_;
  Driver<tunnel::Client, ClientLoad> driver_;
  std::unique_ptr<tunnel::Client> client_;
};

}  // namespace natt::bench
