// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of a tunnel over TLS on loopback TCP: connection, timer and core. Bytes leave the
// core when the socket has taken those before.

#include <unistd.h>
#include <uv.h>

#include <map>
#include <memory>
#include <vector>

#include <natt/credentials.h>
#include <natt/tunnel/tls_client.h>
#include <natt/tunnel/tls_server.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_listener.h>

#include "tunnel_load.h"

namespace natt::bench {

class TlsClientEnd : private uv::TcpConnection::Listener, private uv::Timer::Listener {
 public:
  TlsClientEnd(uv_loop_t& loop, const Credentials& credentials, std::uint16_t port)
      : loop_(loop), timer_(loop, *this), remote_(*SocketAddress::parse("127.0.0.1:1")) {
    remote_.port = port;
    tls_ = value_or_die(TlsContext::make(credentials, TlsDirection::kClient, "h2"));
  }
  ~TlsClientEnd() override = default;
  TlsClientEnd(const TlsClientEnd&) = delete;
  TlsClientEnd& operator=(const TlsClientEnd&) = delete;

  void connect() {
    const tunnel::TlsClientOptions options{
        {"bench", Role::kGateway, Identity{"bench", Role::kGateway, "gw1"}}, {}};
    tcp_.reset();
    client_ = value_or_die(tunnel::TlsClient::make(uv::now(), uv::wall_now(), *tls_, options));
    tcp_ = value_or_die(uv::TcpConnection::connect(loop_, {.to = remote_, .from = {}}, *this));
  }
  void flush() { flush(uv::now()); }
  [[nodiscard]] tunnel::ClientTunnel& core() { return *client_; }
  [[nodiscard]] ClientLoad& load() { return load_; }

 private:
  void flush(Instant now) {
    load_.handle_events(*client_);
    while (tcp_->write_queue_bytes() == 0) {
      const ByteView out = client_->output(now);
      if (out.empty()) break;
      tcp_->write(out);
      client_->consume_output(out.size());
      load_.handle_events(*client_);
    }
    timer_.arm(client_->next_deadline());
  }
  void on_connected(Instant now) override { flush(now); }
  void on_bytes(Instant now, ByteView bytes) override {
    client_->handle_bytes(now, bytes);
    flush(now);
  }
  void on_eof(Instant) override {}
  void on_drained(Instant now) override { flush(now); }
  void on_closed(Instant, const Error& error) override {
    std::fprintf(stderr, "tunnel_bench: %s\n", error.message.c_str());
    std::exit(1);
  }
  void on_timer(Instant now) override {
    client_->handle_timeout(now);
    flush(now);
  }

  uv_loop_t& loop_;
  uv::Timer timer_;
  SocketAddress remote_;
  std::unique_ptr<TlsContext> tls_;
  ClientLoad load_;
  std::unique_ptr<tunnel::TlsClient> client_;
  std::unique_ptr<uv::TcpConnection> tcp_;
};

class TlsGatewayEnd : private uv::TcpListener::Listener, private uv::Timer::Listener {
 public:
  TlsGatewayEnd(uv_loop_t& loop, tunnel::TlsServer& server) : timer_(loop, *this), server_(server) {
    listener_ = value_or_die(uv::TcpListener::open(loop, {.bind = *SocketAddress::parse("127.0.0.1:0")}, *this));
  }
  ~TlsGatewayEnd() override = default;
  TlsGatewayEnd(const TlsGatewayEnd&) = delete;
  TlsGatewayEnd& operator=(const TlsGatewayEnd&) = delete;
  [[nodiscard]] SocketAddress local() const { return listener_->local_address(); }

 private:
  struct Peer final : uv::TcpConnection::Listener {
    Peer(TlsGatewayEnd& end, std::unique_ptr<uv::TcpConnection> connection) : owner(end), tcp(std::move(connection)) {
      tcp->set_listener(*this);
    }
    void on_connected(Instant) override {}
    void on_bytes(Instant now, ByteView bytes) override { owner.take(now, *this, bytes); }
    void on_eof(Instant now) override { owner.drop(now, id); }
    void on_drained(Instant now) override {
      owner.send(now, *this);
      owner.flush(now);
    }
    void on_closed(Instant now, const Error&) override { owner.drop(now, id); }
    TlsGatewayEnd& owner;
    std::unique_ptr<uv::TcpConnection> tcp;
    std::uint64_t id = 0;
  };

  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    waiting_.push_back(std::make_unique<Peer>(*this, std::move(connection)));
  }
  void take(Instant now, Peer& peer, ByteView bytes) {
    if (peer.id != 0) {
      server_.handle_bytes(now, {peer.id}, bytes);
      return flush(now);
    }
    const auto id = value_or_die(
        server_.handle_connected(now, uv::wall_now(), Identity{"bench", Role::kClient, "alice"}, bytes));
    peer.id = id.value;
    const auto found =
        std::find_if(waiting_.begin(), waiting_.end(), [&peer](const auto& one) { return one.get() == &peer; });
    peers_[id.value] = std::move(*found);
    waiting_.erase(found);
    flush(now);
  }
  void drop(Instant now, std::uint64_t id) {
    server_.handle_disconnected(now, {id}, {});
    peers_.erase(id);  // the last act of its listener
  }
  void send(Instant now, Peer& peer) {
    while (peer.tcp->write_queue_bytes() == 0) {
      const ByteView out = server_.output(now, {peer.id});
      if (out.empty()) return;
      peer.tcp->write(out);
      server_.consume_output({peer.id}, out.size());
      load_.handle_events(server_);
    }
  }
  void flush(Instant now) {
    load_.handle_events(server_);
    while (const auto id = server_.poll_progress()) {
      const auto found = peers_.find(id->value);
      if (found != peers_.end()) send(now, *found->second);
    }
    timer_.arm(server_.next_deadline());
  }
  void on_timer(Instant now) override {
    server_.handle_timeout(now);
    flush(now);
  }

  uv::Timer timer_;
  tunnel::TlsServer& server_;
  GatewayLoad load_;
  std::unique_ptr<uv::TcpListener> listener_;
  std::vector<std::unique_ptr<Peer>> waiting_;
  std::map<std::uint64_t, std::unique_ptr<Peer>> peers_;
};

inline void serve_tls(const Credentials& credentials, int port_pipe) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  const auto tls = value_or_die(TlsContext::make(credentials, TlsDirection::kServer, "h2"));
  const auto server = value_or_die(tunnel::TlsServer::make(*tls));
  TlsGatewayEnd end(loop, *server);
  const std::uint16_t port = end.local().port;
  if (write(port_pipe, &port, sizeof(port)) != sizeof(port)) std::exit(1);
  uv_run(&loop, UV_RUN_DEFAULT);
}

}  // namespace natt::bench
