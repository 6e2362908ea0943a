// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/relay_legs.h"

namespace natt::tunnel::uv {

using natt::uv::RelayJoin;
using natt::uv::TcpConnection;

// Joins, then waits for the client.
class RelayLegs::Leg final : public RelayJoin::Listener, public TcpConnection::Listener {
 public:
  Leg(RelayLegs& owner, const SessionId& session, const SocketAddress& relay, Identity client)
      : owner_(owner), session_(session), relay_(relay), client_(std::move(client)) {}

  void set_join(std::unique_ptr<RelayJoin> join) { join_ = std::move(join); }
  [[nodiscard]] bool has_joined(const SocketAddress& relay) const { return connection_ && relay_ == relay; }
  [[nodiscard]] const Identity& client() const { return client_; }
  [[nodiscard]] std::unique_ptr<TcpConnection> release() { return std::move(connection_); }

 private:
  void on_relay_joined(Instant, std::unique_ptr<TcpConnection> connection) override {
    connection_ = std::move(connection);
    connection_->set_listener(*this);
    join_.reset();
  }
  void on_relay_join_failed(Instant, const Error& error) override { owner_.handle_failed(session_, error); }
  // The client needs it no longer, or did not come in the relay's time.
  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override { owner_.handle_first(now, session_, bytes); }
  void on_eof(Instant) override { owner_.cancel(session_); }
  void on_drained(Instant) override {}
  void on_closed(Instant, const Error&) override { owner_.cancel(session_); }

  RelayLegs& owner_;
  const SessionId session_;
  const SocketAddress relay_;
  const Identity client_;
  std::unique_ptr<RelayJoin> join_;
  std::unique_ptr<TcpConnection> connection_;
};

RelayLegs::RelayLegs(uv_loop_s& loop, const Options& options, Owner& owner)
    : options_(options), owner_(owner), timer_(loop, *this), joins_(options.joins, kMaxClients) {}
RelayLegs::~RelayLegs() = default;

void RelayLegs::join(Instant now, const Identity& client, const RelayGrantMessage& grant, const Start& start) {
  if (has_joined(grant)) return wait_for(now, grant.session);
  if (!joins_.take(now, client)) {
    return options_.log(LogLevel::kDebug, "natt.relay.refused relay=" + grant.relay.to_string() +
                                              " reason=\"too many joins of client " + client.uri() + "\"");
  }
  cancel(grant.session);
  if (legs_.size() >= options_.max_legs) {
    return options_.log(LogLevel::kWarning, "natt.relay.refused relay=" + grant.relay.to_string() +
                                                " reason=\"too many legs wait for their clients\"");
  }
  auto leg = std::make_unique<Leg>(*this, grant.session, grant.relay, client);
  auto join = start(*leg);
  if (!join) {
    return options_.log(LogLevel::kWarning, "natt.relay.refused relay=" + grant.relay.to_string() + " reason=\"" +
                                                join.error().message + "\"");
  }
  leg->set_join(std::move(*join));
  legs_.insert_or_assign(grant.session, std::move(leg));
  wait_for(now, grant.session);
}

bool RelayLegs::has_joined(const RelayGrantMessage& grant) const {
  const auto leg = legs_.find(grant.session);
  return leg != legs_.end() && leg->second->has_joined(grant.relay);
}

void RelayLegs::wait_for(Instant now, const SessionId& session) {
  deadlines_.set(session, now + options_.waiting_time);
  timer_.arm(deadlines_.next());
}

void RelayLegs::cancel(const SessionId& session) {
  deadlines_.set(session, std::nullopt);
  const auto leg = legs_.extract(session);  // `session` may be its own
}

void RelayLegs::on_timer(Instant now) {
  while (const auto late = deadlines_.take_due(now)) legs_.erase(*late);
  timer_.arm(deadlines_.next());
}

void RelayLegs::handle_first(Instant now, const SessionId& session, ByteView first) {
  const auto leg = legs_.extract(session);
  deadlines_.set(session, std::nullopt);
  owner_.on_relay_leg(now, leg.key(), leg.mapped()->client(), leg.mapped()->release(), first);
}

void RelayLegs::handle_failed(const SessionId& session, const Error& error) {
  options_.log(LogLevel::kWarning,
               "natt.relay.failed session=" + session.to_string() + " reason=\"" + error.message + "\"");
  cancel(session);
}

}  // namespace natt::tunnel::uv
