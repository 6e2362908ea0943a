// SPDX-License-Identifier: Apache-2.0
#include "apps/client/socks_server.h"

#include <natt/uv/timer.h>

#include "apps/client/socks5.h"
#include "apps/control/unix_socket.h"

namespace natt::client {
namespace {

// What RFC 1928 section 6 has for the gateway's HTTP status.
SocksReply reply_of(const tunnel::uv::StreamFailure& failure) {
  switch (failure.status) {
    case 0: return SocksReply::kNetworkUnreachable;
    case 403: return SocksReply::kNotAllowed;
    case 502: return SocksReply::kConnectionRefused;
    case 504: return SocksReply::kTtlExpired;
    default: return SocksReply::kGeneralFailure;
  }
}

std::optional<tunnel::Authority> authority_of(const Socks5::ConnectRequest& request) {
  if (const auto ip = IpAddress::parse(request.host)) return tunnel::Authority::of({*ip, request.port});
  return tunnel::Authority::parse(request.host + ":" + std::to_string(request.port));
}

}  // namespace

// One application's connection until its stream is open.
class SocksServer::Session final : public natt::uv::TcpConnection::Listener,
                                   public natt::uv::Timer::Listener,
                                   public StreamWaiters::Waiter {
 public:
  Session(SocksServer& server, std::uint64_t id, std::unique_ptr<natt::uv::TcpConnection> connection, Instant now)
      : server_(server),
        id_(id),
        connection_(std::move(connection)),
        socks_({.username = server.options_.username, .password = server.options_.password}, now),
        timer_(server.loop_, *this) {}
  ~Session() override {
    if (request_) {
      server_.waiters_.remove(*request_);
      if (!opened_) server_.client_.cancel(natt::uv::now(), *request_);
    }
  }

  void begin(Instant) {
    connection_->set_listener(*this);
    timer_.arm(socks_.next_deadline());
  }

  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override {
    socks_.handle_bytes(bytes);
    advance(now);
  }
  void on_eof(Instant) override { server_.forget(id_); }
  void on_closed(Instant, const Error&) override { server_.forget(id_); }
  void on_drained(Instant) override {
    if (failed_) server_.forget(id_);
  }
  void on_timer(Instant now) override {
    socks_.handle_timeout(now);
    advance(now);
  }
  void on_opened(Instant now) override {
    opened_ = true;
    socks_.reply(SocksReply::kSucceeded);
    advance(now);
  }
  void on_failed(Instant now, const tunnel::uv::StreamFailure& failure) override {
    request_.reset();
    socks_.reply(reply_of(failure));
    advance(now);
  }

 private:
  // May destroy this object, last.
  void advance(Instant now) {
    const ByteBuffer output = socks_.poll_output();
    if (!output.empty()) connection_->write(output);
    timer_.arm(socks_.next_deadline());
    const auto event = socks_.poll_event();
    if (!event) return;
    if (const auto* request = std::get_if<Socks5::ConnectRequest>(&*event)) return ask(now, *request);
    if (const auto* established = std::get_if<Socks5::Established>(&*event)) return hand_over(now, *established);
    fail(std::get<Socks5::Failed>(*event).reason);
  }

  void ask(Instant now, const Socks5::ConnectRequest& request) {
    const auto target = authority_of(request);
    if (!target) {
      socks_.reply(SocksReply::kHostUnreachable);
      return advance(now);
    }
    request_ = server_.client_.open_stream(now, server_.options_.gateway, *target);
    server_.waiters_.add(*request_, *this);
  }

  void hand_over(Instant now, const Socks5::Established& established) {
    const auto request = *request_;
    request_.reset();
    SocksServer& server = server_;
    server.client_.attach(now, request, std::move(connection_), established.early_data);
    server.forget(id_);
  }

  void fail(const std::string& reason) {
    server_.log_(LogLevel::kDebug, "natt.socks.failed reason=\"" + reason + "\"");
    failed_ = true;
    if (connection_->write_queue_bytes() == 0) server_.forget(id_);
  }

  SocksServer& server_;
  std::uint64_t id_;
  std::unique_ptr<natt::uv::TcpConnection> connection_;
  Socks5 socks_;
  natt::uv::Timer timer_;
  std::optional<tunnel::uv::StreamRequestId> request_;
  bool opened_ = false;
  bool failed_ = false;
};

Result<std::unique_ptr<SocksServer>> SocksServer::open(uv_loop_s& loop, const config::SocksConfig& options,
                                                       tunnel::uv::SiteClient& client, StreamWaiters& waiters,
                                                       LogSink log) {
  std::unique_ptr<SocksServer> server(new SocksServer(loop, options, client, waiters, log));
  auto listener = server->listen();
  if (!listener) return tl::unexpected(listener.error());
  server->listener_ = std::move(*listener);
  return server;
}

SocksServer::SocksServer(uv_loop_s& loop, const config::SocksConfig& options, tunnel::uv::SiteClient& client,
                         StreamWaiters& waiters, LogSink log)
    : loop_(loop), options_(options), client_(client), waiters_(waiters), log_(log) {}

SocksServer::~SocksServer() {
  const auto* path = std::get_if<std::filesystem::path>(&*options_.listen);
  std::error_code failed;
  if (path != nullptr && listener_) std::filesystem::remove(*path, failed);
}

Result<std::unique_ptr<natt::uv::TcpListener>> SocksServer::listen() {
  if (const auto* address = std::get_if<SocketAddress>(&*options_.listen)) {
    return natt::uv::TcpListener::open(loop_, {.bind = *address}, *this);
  }
  // Whoever may open the file may use the tunnel: the owner alone.
  auto socket = control::listen_unix(std::get<std::filesystem::path>(*options_.listen), 0600);
  if (!socket) return tl::unexpected(socket.error());
  return natt::uv::TcpListener::adopt(loop_, socket->release(), {}, *this);
}

void SocksServer::on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  if (sessions_.size() >= kMaxPending) return;
  const std::uint64_t id = next_session_++;
  Session& session = *sessions_.emplace(id, std::make_unique<Session>(*this, id, std::move(connection), now))
                          .first->second;
  session.begin(now);
}

void SocksServer::forget(std::uint64_t session) { sessions_.erase(session); }

}  // namespace natt::client
