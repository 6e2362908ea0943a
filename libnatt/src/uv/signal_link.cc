// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/signal_link.h>

#include <natt/errc.h>
#include <natt/spa/knocker.h>

namespace natt::uv {

SignalLink::SignalLink(uv_loop_s& loop, Options options, const TlsContext& tls, spa::Knocker& knocker, Random& random,
                       Listener& listener)
    : loop_(loop),
      options_(std::move(options)),
      tls_(&tls),
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
  // First: in mode udp-tcp the SYN waits for it.
  options_.client.knock_id = listener_.on_attempt(now, *this);
  auto client = SignalClient::make(options_.client, *tls_, knocker_, random_, now, listener_.site_time());
  if (!client) return retry_later(now, client.error());
  client_ = std::move(*client);
  silent_at_ = now + kSilence;
  race_ = std::make_unique<TcpRace>(loop_, static_cast<TcpRace::Listener&>(*this));
  race_->start(now, address());
  arm_timer();
}

// A fresh frame over the same ClientHello: one TLS object, whichever connection it is that the broker answers on.
ByteBuffer SignalLink::make_first_flight() {
  auto flight = client_->first_flight(listener_.site_time());
  return flight ? std::move(*flight) : ByteBuffer{};
}

void SignalLink::on_race_won(Instant now, std::unique_ptr<TcpConnection> connection) {
  connection_ = std::move(connection);
  connection_->set_listener(*this);
  race_.reset();
  flush(now);
}

void SignalLink::on_race_lost(Instant now, const Error& error) {
  race_.reset();
  report_silence(now, outcome_of(error));
  retry_later(now, explain(error));
}

void SignalLink::on_bytes(Instant now, ByteView bytes) {
  silent_at_.reset();
  client_->handle_bytes(now, listener_.site_time(), bytes);
  flush(now);
}

void SignalLink::on_eof(Instant now) {
  report_silence(now, SilenceEvidence::Tcp::kClosed);
  client_->handle_disconnected(now);
  flush(now);
}

void SignalLink::on_drained(Instant now) { flush(now); }

void SignalLink::on_closed(Instant now, const Error& error) {
  report_silence(now, SilenceEvidence::Tcp::kClosed);
  connection_.reset();
  if (!connected()) return retry_later(now, explain(error));
  client_->handle_disconnected(now);
  flush(now);
}

Error SignalLink::explain(const Error& error) const {
  return {error.code, "connecting to broker " + options_.client.broker.name + " at " + address().to_string() + ": " +
                          error.message};
}

SilenceEvidence::Tcp SignalLink::outcome_of(const Error& error) const {
  if (connection_) return SilenceEvidence::Tcp::kConnected;
  if (error.code == make_error_code(Errc::kRefused)) return SilenceEvidence::Tcp::kRefused;
  if (error.code == make_error_code(Errc::kUnavailable)) return SilenceEvidence::Tcp::kUnreachable;
  return SilenceEvidence::Tcp::kNoAnswer;
}

void SignalLink::report_silence(Instant now, SilenceEvidence::Tcp tcp) {
  if (!silent_at_) return;
  silent_at_.reset();
  listener_.on_silence(now, *this, tcp);
}

void SignalLink::on_timer(Instant now) {
  if (retry_at_ && now >= *retry_at_) return attempt(now);
  if (silent_at_ && now >= *silent_at_) {
    report_silence(now, connection_ ? SilenceEvidence::Tcp::kConnected : SilenceEvidence::Tcp::kNoAnswer);
  }
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
  race_.reset();
  connection_.reset();
  silent_at_.reset();
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
  arm_timer();
  deliver_events(now);
}

void SignalLink::arm_timer() {
  timer_.arm(retry_at_ ? retry_at_ : earlier(silent_at_, client_ ? client_->next_deadline() : std::nullopt));
}

void SignalLink::deliver_events(Instant now) {
  if (delivering_) return;  // a handler gave a command: the loop below goes on with what it caused
  delivering_ = true;
  while (client_) {
    const auto event = client_->poll_event();
    if (!event) break;
    if (std::holds_alternative<SignalConnected>(*event)) {
      connected_at_ = now;
      last_error_.reset();
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
  race_.reset();
  connection_.reset();
  silent_at_.reset();
  if (connected_at_ && now - *connected_at_ >= kLasted) backoff_.reset();
  connected_at_.reset();
  next_address_ = (next_address_ + 1) % options_.addresses.size();
  last_error_ = error;
  retry_at_ = now + backoff_.next_delay();
  timer_.arm(retry_at_);
  listener_.on_signal(now, *this, SignalClosed{error});
}

}  // namespace natt::uv
