// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/tls_door.h"

#include <sys/resource.h>

#include <algorithm>

#include <natt/tunnel/tunnel_protocol.h>

namespace natt::tunnel::uv {
namespace {

// A quarter of the descriptors that the process may have: the rest is for members, their streams and the brokers.
std::size_t most_strangers() {
  constexpr rlim_t kMost = SignalAdmissionOptions{}.max_pending;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return std::min(limit.rlim_cur / 4, kMost);
}

}  // namespace

using natt::uv::TcpConnection;
using natt::uv::TcpListener;

// One connection that has not proved itself.
class TlsDoor::Visitor final : public TcpConnection::Listener {
 public:
  Visitor(TlsDoor& door, ChannelId id, std::unique_ptr<TcpConnection> connection)
      : door_(door), id_(id), connection_(std::move(connection)) {}

  // Once the visitor is in the table: reading may call back at once.
  void begin() { connection_->set_listener(*this); }
  void end_politely() { connection_->shutdown(); }
  [[nodiscard]] std::unique_ptr<TcpConnection> release() { return std::move(connection_); }

 private:
  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override { door_.handle_bytes(now, id_, bytes); }
  void on_eof(Instant now) override { door_.handle_gone(now, id_); }
  void on_drained(Instant) override {}
  void on_closed(Instant now, const Error&) override { door_.handle_gone(now, id_); }

  TlsDoor& door_;
  ChannelId id_;
  std::unique_ptr<TcpConnection> connection_;
};

Result<std::unique_ptr<TlsDoor>> TlsDoor::open(uv_loop_s& loop, const Options& options,
                                               const spa::VerifierGroup& verifiers, const GatewayPolicy& policy,
                                               Random& random, Owner& owner) {
  std::unique_ptr<TlsDoor> door(new TlsDoor(loop, options, verifiers, policy, random, owner));
  TcpListener::Options listen{.bind = options.listen};
  // There is no moment in which strangers see the port.
  listen.before_listen = [&door](int socket) { return door->hide(socket); };
  auto listener = TcpListener::open(loop, listen, *door);
  if (!listener) return tl::unexpected(listener.error());
  door->listener_ = std::move(*listener);
  return door;
}

TlsDoor::TlsDoor(uv_loop_s& loop, const Options& options, const spa::VerifierGroup& verifiers,
                 const GatewayPolicy& policy, Random& random, Owner& owner)
    : gate_(options.gate),
      log_(options.log),
      policy_(policy),
      owner_(owner),
      plan_(plan_tcp_door(SpaMode::kTcp, std::nullopt, gate_ != nullptr)),
      admission_({.port = kGatewayKnockPort,
                  .max_pending = most_strangers(),
                  .wants_knock = plan_.wants_knock,
                  .policy = this,
                  .log = log_},
                 verifiers, grants_, random),
      timer_(loop, *this) {}

TlsDoor::~TlsDoor() = default;

// A gateway that strangers see is better than none.
Result<void> TlsDoor::hide(int socket) {
  if (gate_ != nullptr) {
    if (const auto attached = gate_->attach(socket, spa::GateSocket::kTcpSyn); !attached) {
      plan_ = plan_tcp_door(SpaMode::kTcp, std::nullopt, false);
      plan_.shortfall += ": " + attached.error().message;
    }
  }
  if (!plan_.shortfall.empty()) log_(LogLevel::kWarning, "natt.spa.visible reason=\"" + plan_.shortfall + "\"");
  return {};
}

// Joins are for brokers.
bool TlsDoor::admits(const Identity& identity, Admitted::Purpose purpose) const {
  return purpose == Admitted::Purpose::kSignaling && identity.role == Role::kClient && policy_.knows(identity);
}

void TlsDoor::on_connection(Instant now, std::unique_ptr<TcpConnection> connection) {
  const ChannelId id{next_channel_++};
  if (admission_.handle_accepted(now, id, connection->remote_address())) {
    auto& visitor = visitors_[id] = std::make_unique<Visitor>(*this, id, std::move(connection));
    visitor->begin();
  }
  flush(now);
}

void TlsDoor::handle_bytes(Instant now, ChannelId id, ByteView bytes) {
  admission_.handle_bytes(now, natt::uv::wall_now(), id, bytes);
  flush(now);
}

void TlsDoor::handle_gone(Instant now, ChannelId id) {
  admission_.handle_disconnected(id);
  closing_.set(id, std::nullopt);
  visitors_.erase(id);
  flush(now);
}

void TlsDoor::on_timer(Instant now) {
  admission_.handle_timeout(now);
  while (const auto late = closing_.take_due(now)) visitors_.erase(*late);
  flush(now);
}

void TlsDoor::flush(Instant now) {
  if (flushing_) return;
  flushing_ = true;
  while (auto event = admission_.poll_event()) handle_event(now, std::move(*event));
  flushing_ = false;
  timer_.arm(earlier(closing_.next(), admission_.next_deadline()));
}

void TlsDoor::handle_event(Instant now, AdmissionEvent event) {
  if (const auto* close = std::get_if<CloseConnection>(&event)) close_silently(now, *close);
  if (const auto* admitted = std::get_if<Admitted>(&event)) hand_over(now, *admitted);
}

void TlsDoor::hand_over(Instant now, const Admitted& admitted) {
  const auto found = visitors_.find(admitted.channel);
  if (found == visitors_.end()) return;
  auto connection = found->second->release();
  visitors_.erase(found);
  ByteBuffer hello = admitted.record;
  hello.insert(hello.end(), admitted.rest.begin(), admitted.rest.end());
  owner_.on_client_admitted(now, admitted.identity, std::move(connection), hello);
}

// FIN, and what still comes is read: a socket closed with bytes unread would answer with RST.
void TlsDoor::close_silently(Instant now, const CloseConnection& close) {
  const auto found = visitors_.find(close.channel);
  if (found == visitors_.end()) return;
  if (close.at_once) {
    visitors_.erase(found);
    return;
  }
  closing_.set(close.channel, now + kClosingTime);
  found->second->end_politely();
}

}  // namespace natt::tunnel::uv
