// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/signal_server.h>

#include <utility>

namespace natt::uv {

// One connection that was admitted: in the hub, or on its way out.
class SignalServer::Channel final : public TcpConnection::Listener {
 public:
  enum class State : std::uint8_t { kOpen, kClosing };

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

  State state = State::kOpen;

 private:
  SignalServer& server_;
  ChannelId id_;
  std::unique_ptr<TcpConnection> connection_;
};

SignalServer::SignalServer(uv_loop_s& loop, const SignalAdmissionOptions& admission,
                           const spa::VerifierGroup& verifiers, AddressGrants& grants, Random& random, SignalHub& hub,
                           Listener& listener)
    : port_(loop, admission, verifiers, grants, random, *this), hub_(hub), listener_(listener), timer_(loop, *this) {}

SignalServer::~SignalServer() = default;

void SignalServer::on_admitted(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) {
  if (admitted.purpose == Admitted::Purpose::kRelayJoin) {
    return listener_.on_relay_join(now, std::move(admitted), std::move(connection));
  }
  const ChannelId id = admitted.channel;
  auto& channel = channels_[id] = std::make_unique<Channel>(*this, id, std::move(connection));
  channel->begin();
  if (!hub_.handle_admitted(now, wall_now(), id, admitted.identity, admitted.remote, admitted.record, admitted.rest)) {
    channels_.erase(id);
  }
  flush(now);
}

void SignalServer::on_knock_missing(Instant now, const KnockMissing& missing) {
  listener_.on_knock_missing(now, missing);
}

void SignalServer::on_channel_bytes(Instant now, Channel& channel, ByteView bytes) {
  switch (channel.state) {
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
  if (state == Channel::State::kOpen) hub_.handle_disconnected(now, id);
  flush(now);
}

void SignalServer::on_timer(Instant now) {
  hub_.handle_timeout(now);
  while (const auto late = closing_.take_due(now)) channels_.erase(ChannelId{*late});
  flush(now);
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
  // Each may give the other work.
  bool worked = true;
  while (worked) {
    port_.flush(now);
    worked = false;
    while (drain_once(now)) worked = true;
  }
  flushing_ = false;
  timer_.arm(earlier(closing_.next(), hub_.next_deadline()));
}

}  // namespace natt::uv
