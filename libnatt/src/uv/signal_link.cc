// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/signal_link.h>

#include <natt/errc.h>
#include <natt/spa/knocker.h>

namespace natt::uv {

SignalLink::SignalLink(uv_loop_s& loop, Options options, const TlsContext& tls, spa::Knocker& knocker, Random& random,
                       Listener& listener)
    : loop_(loop),
      options_(std::move(options)),
      tls_(tls),
      knocker_(knocker),
      random_(random),
      listener_(listener),
      backoff_(random, options_.backoff),
      timer_(loop, *this) {}

SignalLink::~SignalLink() = default;

void SignalLink::start(Instant now) {
  if (started_) return;
  started_ = true;
  attempt(now);
}

void SignalLink::attempt(Instant now) {
  retry_at_.reset();
  options_.client.roster_number = listener_.roster_number();
  auto client = SignalClient::make(options_.client, tls_, knocker_, random_, now, wall_now());
  if (!client) return retry_later(now, client.error());
  auto connection = TcpConnection::connect(
      loop_, {.to = address(), .timeout = options_.client.handshake_timeout}, *this);
  if (!connection) return retry_later(now, connection.error());
  client_ = std::move(*client);
  connection_ = std::move(*connection);
  listener_.on_attempt(now, *this);
  timer_.arm(client_->next_deadline());
}

void SignalLink::on_connected(Instant now) {
  auto first = client_->first_flight(wall_now());
  if (!first) return retry_later(now, first.error());
  connection_->write(*first);
  flush(now);
}

void SignalLink::on_bytes(Instant now, ByteView bytes) {
  client_->handle_bytes(now, wall_now(), bytes);
  flush(now);
}

void SignalLink::on_eof(Instant now) {
  client_->handle_disconnected(now);
  flush(now);
}

void SignalLink::on_drained(Instant now) { flush(now); }

void SignalLink::on_closed(Instant now, const Error& error) {
  const Error reason{error.code, "connecting to broker " + options_.client.broker.name + " at " +
                                     address().to_string() + ": " + error.message};
  connection_.reset();
  if (!connected()) return retry_later(now, reason);
  client_->handle_disconnected(now);
  flush(now);
}

void SignalLink::on_timer(Instant now) {
  if (retry_at_ && now >= *retry_at_) return attempt(now);
  if (client_) client_->handle_timeout(now);
  flush(now);
}

Result<void> SignalLink::send(Instant now, const SignalMessage& message) {
  if (!client_) return fail(Errc::kClosed, "no signaling channel to broker " + options_.client.broker.name);
  auto sent = client_->send(now, message);
  flush(now);
  return sent;
}

void SignalLink::stop() {
  if (client_ && connection_) {
    client_->close();
    connection_->write(client_->take_output());
    connection_->shutdown();
  }
  client_.reset();
  connection_.reset();
  retry_at_.reset();
  timer_.arm(std::nullopt);
}

bool SignalLink::connected() const { return client_ && client_->state() == SignalClient::State::kOpen; }

void SignalLink::flush(Instant now) {
  // What the socket has not taken stays in the client's bounded queue.
  if (client_ && connection_ && connection_->write_queue_bytes() == 0) {
    const ByteBuffer output = client_->take_output();
    if (!output.empty()) connection_->write(output);
  }
  timer_.arm(retry_at_ ? retry_at_ : client_ ? client_->next_deadline() : std::nullopt);
  deliver_events(now);
}

void SignalLink::deliver_events(Instant now) {
  if (delivering_) return;  // a handler gave a command: the loop below goes on with what it caused
  delivering_ = true;
  while (client_) {
    const auto event = client_->poll_event();
    if (!event) break;
    if (const auto* connected = std::get_if<SignalConnected>(&*event)) {
      connected_at_ = now;
      last_error_.reset();
      knocker_.set_clock_offset(connected->clock_offset);
    }
    if (const auto* closed = std::get_if<SignalClosed>(&*event)) {
      retry_later(now, closed->error);
      break;
    }
    listener_.on_signal(now, *this, *event);
  }
  delivering_ = false;
}

void SignalLink::retry_later(Instant now, const Error& error) {
  client_.reset();
  connection_.reset();
  if (connected_at_ && now - *connected_at_ >= kLasted) backoff_.reset();
  connected_at_.reset();
  next_address_ = (next_address_ + 1) % options_.addresses.size();
  last_error_ = error;
  retry_at_ = now + backoff_.next_delay();
  timer_.arm(retry_at_);
  listener_.on_signal(now, *this, SignalClosed{error});
}

}  // namespace natt::uv
