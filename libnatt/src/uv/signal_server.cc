// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/signal_server.h>

namespace natt::uv {

// One accepted connection: before admission, in the hub, or on its way out.
class SignalServer::Channel final : public TcpConnection::Listener {
 public:
  enum class State : std::uint8_t { kPending, kOpen, kClosing };

  Channel(SignalServer& server, ChannelId id, std::unique_ptr<TcpConnection> connection)
      : server_(server), id_(id), connection_(std::move(connection)) {}

  // Once the channel is in the table: reading may call back at once.
  void begin() { connection_->set_listener(*this); }

  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override { server_.on_channel_bytes(now, *this, bytes); }
  void on_eof(Instant now) override { server_.on_channel_gone(now, id_); }
  void on_closed(Instant now, const Error&) override { server_.on_channel_gone(now, id_); }
  void on_drained(Instant now) override {
    if (state == State::kClosing) return server_.on_channel_gone(now, id_);
    server_.write_output(*this);
    server_.flush(now);
  }

  [[nodiscard]] ChannelId id() const { return id_; }
  [[nodiscard]] TcpConnection& connection() { return *connection_; }
  [[nodiscard]] std::unique_ptr<TcpConnection> release() { return std::move(connection_); }

  State state = State::kPending;

 private:
  SignalServer& server_;
  ChannelId id_;
  std::unique_ptr<TcpConnection> connection_;
};

Result<std::unique_ptr<SignalServer>> SignalServer::open(uv_loop_s& loop, const TcpListener::Options& options,
                                                         SignalAdmission& admission, SignalHub& hub,
                                                         Listener& listener) {
  std::unique_ptr<SignalServer> server(new SignalServer(loop, admission, hub, listener));
  auto acceptor = TcpListener::open(loop, options, *server);
  if (!acceptor) return tl::unexpected(acceptor.error());
  server->acceptor_ = std::move(*acceptor);
  return server;
}

SignalServer::SignalServer(uv_loop_s& loop, SignalAdmission& admission, SignalHub& hub, Listener& listener)
    : admission_(admission), hub_(hub), listener_(listener), timer_(loop, *this) {}

SignalServer::~SignalServer() = default;

void SignalServer::on_connection(Instant now, std::unique_ptr<TcpConnection> connection) {
  const ChannelId id{next_channel_++};
  connection->limit_reads(kUnprovenRead);
  if (!admission_.handle_accepted(now, id, connection->remote_address())) return;
  auto& channel = channels_[id] = std::make_unique<Channel>(*this, id, std::move(connection));
  channel->begin();
  flush(now);
}

void SignalServer::on_channel_bytes(Instant now, Channel& channel, ByteView bytes) {
  switch (channel.state) {
    case Channel::State::kPending:
      admission_.handle_bytes(now, wall_now(), channel.id(), bytes);
      if (admission_.holds_join(channel.id())) channel.connection().pause_reading();
      break;
    case Channel::State::kOpen: hub_.handle_bytes(now, wall_now(), channel.id(), bytes); break;
    case Channel::State::kClosing: return;
  }
  flush(now);
}

void SignalServer::on_channel_gone(Instant now, ChannelId id) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  const Channel::State state = found->second->state;
  channels_.erase(found);
  closing_.set(id.value, std::nullopt);
  if (state == Channel::State::kPending) admission_.handle_disconnected(id);
  if (state == Channel::State::kOpen) hub_.handle_disconnected(now, id);
  flush(now);
}

void SignalServer::on_timer(Instant now) {
  admission_.handle_timeout(now);
  hub_.handle_timeout(now);
  while (const auto late = closing_.take_due(now)) channels_.erase(ChannelId{*late});
  flush(now);
}

void SignalServer::handle_admission_event(Instant now, AdmissionEvent event) {
  if (const auto* close = std::get_if<CloseConnection>(&event)) {
    close_silently(now, *close);
  } else if (const auto* missing = std::get_if<KnockMissing>(&event)) {
    listener_.on_knock_missing(now, *missing);
  } else {
    handle_admitted(now, std::get<Admitted>(std::move(event)));
  }
}

// FIN, and what still comes is read: a socket closed with bytes unread would answer with RST.
void SignalServer::close_silently(Instant now, const CloseConnection& close) {
  const auto found = channels_.find(close.channel);
  if (found == channels_.end()) return;
  if (close.at_once) {
    channels_.erase(found);
    return;
  }
  found->second->state = Channel::State::kClosing;
  closing_.set(close.channel.value, now + kClosingTime);
  found->second->connection().resume_reading();
  found->second->connection().shutdown();
}

void SignalServer::handle_admitted(Instant now, Admitted admitted) {
  const auto found = channels_.find(admitted.channel);
  if (found == channels_.end()) return;
  if (admitted.purpose == Admitted::Purpose::kRelayJoin) {
    auto connection = found->second->release();
    channels_.erase(found);
    return listener_.on_relay_join(now, std::move(admitted), std::move(connection));
  }
  found->second->state = Channel::State::kOpen;
  found->second->connection().limit_reads(kProvenRead);
  if (!hub_.handle_admitted(now, wall_now(), admitted.channel, admitted.identity, admitted.remote, admitted.record,
                            admitted.rest)) {
    channels_.erase(found);
  }
}

void SignalServer::write_output(Channel& channel) {
  // While the socket holds bytes the rest stays in the hub's bounded queue.
  if (channel.connection().write_queue_bytes() > 0) return;
  const ByteBuffer output = hub_.take_output(channel.id());
  if (!output.empty()) channel.connection().write(output);
}

void SignalServer::close_politely(Instant now, ChannelId id) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  Channel& channel = *found->second;
  const ByteBuffer output = hub_.take_output(id);
  if (!output.empty()) channel.connection().write(output);
  if (channel.connection().write_queue_bytes() == 0) {
    channels_.erase(found);
    return;
  }
  channel.state = Channel::State::kClosing;
  closing_.set(id.value, now + kClosingTime);
  channel.connection().shutdown();
}

bool SignalServer::drain_once(Instant now) {
  if (auto event = admission_.poll_event()) {
    handle_admission_event(now, std::move(*event));
    return true;
  }
  if (const auto writable = hub_.poll_writable()) {
    const auto found = channels_.find(*writable);
    if (found != channels_.end()) write_output(*found->second);
    return true;
  }
  if (auto event = hub_.poll_event()) {
    if (const auto* closed = std::get_if<ChannelClosed>(&*event)) close_politely(now, closed->channel);
    listener_.on_hub_event(now, *event);
    return true;
  }
  return false;
}

void SignalServer::flush(Instant now) {
  if (flushing_) return;
  flushing_ = true;
  while (drain_once(now)) {
  }
  flushing_ = false;
  timer_.arm(earlier(closing_.next(), earlier(admission_.next_deadline(), hub_.next_deadline())));
}

}  // namespace natt::uv
