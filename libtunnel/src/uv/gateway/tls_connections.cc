// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/tls_connections.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include <natt/errc.h>

#include "src/uv/gateway/tcp_progress.h"

namespace natt::tunnel::uv {
namespace {

using natt::uv::TcpConnection;

// A peer that vanished while nothing was sent is noticed after as long as TransportOptions::idle_timeout: 5 min and 15
// probes. What TlsServer itself asks for comes earlier.
constexpr int kKeepAliveIdle = 300;
constexpr int kKeepAliveInterval = 60;
constexpr int kKeepAliveProbes = 15;

// Wishes: a kernel that refuses one is served all the same.
void wish(int fd, int level, int option, int value) {
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
}

void prepare(const TcpConnection& connection) {
  const int fd = connection.descriptor();
  wish(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  wish(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdle);
  wish(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveInterval);
  wish(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
  // The streams share the connection: what one of them has put into the kernel delays all others.
  wish(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(TlsConnections::kQueueLimit));
}

}  // namespace

class TlsConnections::Link final : public TcpConnection::Listener {
 public:
  enum class State : std::uint8_t {
    kOpen,
    kClosing,  // the tunnel is over: its last words are on their way
    kEnding,   // FIN is sent or queued; what still comes is read to nowhere
  };

  Link(TlsConnections& owner, ConnectionId id, std::unique_ptr<TcpConnection> connection, TlsRoute route)
      : owner_(owner), id_(id), connection_(std::move(connection)), route_(route) {}

  // Once the link is in the table: reading may call back at once.
  void begin() { connection_->set_listener(*this); }
  void start_closing() { state_ = State::kClosing; }
  void end() {
    state_ = State::kEnding;
    connection_->shutdown();
  }
  // What it may still be given in the callback that `now` stands for.
  [[nodiscard]] std::size_t& allowance(Instant now) {
    if (turn_ != now) allowance_ = kBurst;
    turn_ = now;
    return allowance_;
  }
  [[nodiscard]] bool is_open() const { return state_ == State::kOpen; }
  [[nodiscard]] bool is_ending() const { return state_ == State::kEnding; }
  [[nodiscard]] TcpConnection& connection() { return *connection_; }
  [[nodiscard]] const TlsRoute& route() const { return route_; }
  [[nodiscard]] bool moves_backlog() { return !route_.session && progress_.note(*connection_); }

 private:
  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override {
    if (!is_ending()) owner_.handle_bytes(now, id_, bytes);
  }
  void on_eof(Instant now) override {
    owner_.handle_gone(now, id_, {natt::Errc::kClosed, "the client ended the TCP connection"});
  }
  void on_drained(Instant now) override { owner_.handle_drained(now, id_); }
  void on_closed(Instant now, const Error& error) override { owner_.handle_gone(now, id_, error); }

  TlsConnections& owner_;
  ConnectionId id_;
  std::unique_ptr<TcpConnection> connection_;
  TlsRoute route_;
  TcpProgress progress_;
  State state_ = State::kOpen;
  Instant turn_{};
  std::size_t allowance_ = kBurst;
};

TlsConnections::TlsConnections(TlsServer& server, Owner& owner) : server_(server), owner_(owner) {}
TlsConnections::~TlsConnections() = default;

void TlsConnections::add(Instant now, WallTime wall_now, const Identity& client,
                         std::unique_ptr<TcpConnection> connection, TlsRoute route, ByteView first) {
  const auto id = server_.handle_connected(now, wall_now, client, first);
  if (!id) return;
  prepare(*connection);
  auto& link = links_[*id] = std::make_unique<Link>(*this, *id, std::move(connection), route);
  link->begin();
  owner_.on_tls_progress(now);
}

void TlsConnections::handle_bytes(Instant now, ConnectionId id, ByteView bytes) {
  server_.handle_bytes(now, id, bytes);
  owner_.on_tls_progress(now);
}

void TlsConnections::handle_drained(Instant now, ConnectionId id) {
  ready_.insert(id);
  owner_.on_tls_progress(now);
}

void TlsConnections::handle_gone(Instant now, ConnectionId id, const Error& error) {
  links_.erase(id);
  ready_.erase(id);
  later_.erase(id);
  closing_.set(id, std::nullopt);
  server_.handle_disconnected(now, id, error);
  owner_.on_tls_progress(now);
}

bool TlsConnections::flush(Instant now) {
  while (const auto id = server_.poll_progress()) ready_.insert(*id);
  std::size_t written = 0;
  for (const ConnectionId id : std::exchange(ready_, {})) {
    if (!later_.contains(id)) written += write_some(now, id);
  }
  return written > 0;
}

std::size_t TlsConnections::write_some(Instant now, ConnectionId id) {
  const auto found = links_.find(id);
  if (found == links_.end() || found->second->is_ending()) return 0;
  Link& link = *found->second;
  // Before the queue is looked at: a peer that reads nothing keeps it full for ever.
  if (server_.is_closed(id) && link.is_open()) start_closing(now, id, link);
  std::size_t& allowance = link.allowance(now);
  std::size_t written = 0;
  while (link.connection().write_queue_bytes() < kQueueLimit) {
    const ByteView output = server_.output(now, id);
    if (output.empty()) {
      if (server_.is_closed(id)) link.end();
      break;
    }
    if (allowance == 0) {
      later_.insert(id);
      break;
    }
    const ByteView piece = output.first(std::min(output.size(), allowance));
    link.connection().write(piece);
    server_.consume_output(id, piece.size());
    allowance -= piece.size();
    written += piece.size();
  }
  return written;
}

void TlsConnections::start_closing(Instant now, ConnectionId id, Link& link) {
  closing_.set(id, now + kClosingTime);
  link.start_closing();
}

void TlsConnections::handle_timeout(Instant now) {
  while (const auto late = closing_.take_due(now)) {
    // With RST: after a FIN the kernel would go on offering what is queued.
    links_.at(*late)->connection().abort();
    handle_gone(now, *late, {natt::Errc::kTimeout, "the client did not take the end"});
  }
  ready_.merge(later_);
  later_.clear();
}

std::optional<Instant> TlsConnections::next_deadline() const {
  return later_.empty() ? closing_.next() : std::optional(Instant::min());
}

std::uint64_t TlsConnections::smoothed_rtt_us(ConnectionId id) const {
  const auto found = links_.find(id);
  const auto rtt = found == links_.end() ? std::nullopt : found->second->connection().smoothed_rtt();
  return rtt ? static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(*rtt).count()) : 0;
}

bool TlsConnections::moves_backlog(ConnectionId id) {
  const auto found = links_.find(id);
  return found != links_.end() && found->second->moves_backlog();
}

std::optional<TlsRoute> TlsConnections::route(ConnectionId id) const {
  const auto found = links_.find(id);
  return found == links_.end() ? std::nullopt : std::optional(found->second->route());
}

}  // namespace natt::tunnel::uv
