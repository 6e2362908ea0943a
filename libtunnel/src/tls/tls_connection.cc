// SPDX-License-Identifier: Apache-2.0
#include "src/tls/tls_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include <natt/errc.h>
#include <natt/tunnel/errc.h>
#include <natt/tunnel/tls_client.h>

#include "src/http/error_codes.h"

namespace natt::tunnel {
namespace {

constexpr std::string_view kProtocolName = "h2";  // RFC 9113 section 3.2
// Encrypted and not yet taken by the socket. More would only wait in another place, where streams cannot overtake.
constexpr std::size_t kMaxOutput = TlsClient::kMaxOutput;
// Four records fill it.
constexpr std::size_t kRecord = kMaxOutput / 4;
// One less, for close_notify.
constexpr std::size_t kFarewellRecords = TlsClient::kMaxFarewell / kRecord - 1;
constexpr std::size_t kRecordPlaintext = kRecord - TlsStream::kRecordOverhead;
static_assert(kRecordPlaintext >= Http2Session::kMinRoom);
// For the last bytes to leave; a peer that takes nothing any more is not waited for.
constexpr Duration kGoodbyeTime = std::chrono::seconds(5);

std::string_view to_string(TlsConnection::State state) {
  switch (state) {
    case TlsConnection::State::kHandshaking: return "handshaking";
    case TlsConnection::State::kOpen: return "open";
    case TlsConnection::State::kClosing: return "closing";
    case TlsConnection::State::kDone: return "done";
  }
  return "unknown";
}

}  // namespace

TlsConnection::TlsConnection(Instant now, const Environment& environment, const Start& start,
                             std::unique_ptr<TlsStream> tls)
    : options_(environment.options),
      tls_(std::move(tls)),
      http_(start.side, start.id, environment.shared, environment.options),
      keep_alive_(environment.options.keep_alive),
      started_(now),
      latest_(now),
      last_heard_(now),
      last_asked_(now) {}

Result<std::unique_ptr<TlsConnection>> TlsConnection::make(Instant now, const Environment& environment,
                                                           const Start& start) {
  auto tls = start.side == Side::kClient ? TlsStream::connect(environment.tls, start.expectation, start.wall_now)
                                         : TlsStream::accept(environment.tls, start.expectation, start.wall_now);
  if (!tls) return fail(Errc::kHandshake, tls.error().message);
  return std::unique_ptr<TlsConnection>(new TlsConnection(now, environment, start, std::move(*tls)));
}

// ---- bytes in ----

void TlsConnection::handle_bytes(Instant now, ByteView bytes) {
  now = advance(now);
  if (!is_alive() || bytes.empty()) return;
  stats_.bytes_in += bytes.size();
  last_heard_ = now;
  bool something = state_ == State::kHandshaking;
  std::array<std::uint8_t, TlsStream::kMaxPlaintext> buffer;
  for (;;) {
    const ByteView plaintext = tls_->read(bytes, buffer);
    if (state_ == State::kHandshaking && tls_->state() != TlsStream::State::kHandshaking) {
      handle_handshake_completed(now);
    }
    if (plaintext.empty() || !is_alive()) break;
    something = true;
    take(now, plaintext);
  }
  if (something) ++stats_.packets_in;
  if (is_alive()) handle_tls_end(now);
}

void TlsConnection::handle_handshake_completed(Instant now) {
  if (tls_->state() == TlsStream::State::kFailed) return;  // handle_tls_end() says why
  if (tls_->protocol() != kProtocolName) {
    return close_with(now, kHttpNoError, {}, {Errc::kHandshake, "the peer does not speak HTTP/2 (ALPN)"});
  }
  if (!tls_->peer() || !http_.start()) return end({Errc::kHandshake, "no memory for another connection"});
  transition_to(State::kOpen);
  tell(Established{tls_->peer()->identity(), tls_->peer()->serial(), {}});
}

void TlsConnection::take(Instant now, ByteView plaintext) {
  if (!http_.handle_bytes(now, plaintext)) return handle_rule_broken(now);
  if (confirmed_ || !http_.is_confirmed()) return;
  confirmed_ = true;
  tell(HandshakeConfirmed{});
}

void TlsConnection::handle_tls_end(Instant now) {
  if (tls_->state() == TlsStream::State::kClosed) return start_closing(now, error_of_peer());
  if (tls_->state() != TlsStream::State::kFailed) return;
  // Once this end has completed its part, it is the peer who complains, about this end's certificate.
  const bool identity =
      state_ == State::kHandshaking && tls_->error().code == make_error_code(natt::Errc::kWrongIdentity);
  const Errc code = confirmed_ ? Errc::kProtocol : identity ? Errc::kWrongIdentity : Errc::kHandshake;
  start_closing(now, {code, tls_->error().message});
}

Error TlsConnection::error_of_peer() const {
  const auto& goaway = http_.peer_goaway();
  const std::string reason = goaway && !goaway->reason.empty() ? ": " + goaway->reason : "";
  if (!goaway || goaway->code == NGHTTP2_NO_ERROR) return {Errc::kClosed, "closed by the peer" + reason};
  return {Errc::kProtocol,
          fmt::format("the peer closed with HTTP/2 error {}{}", nghttp2_http2_strerror(goaway->code), reason)};
}

// ---- bytes out ----

bool TlsConnection::write_record() {
  std::array<std::uint8_t, kRecordPlaintext> record;
  const std::size_t size = http_.fill(record);
  tls_->write(ByteView{record}.first(size));
  return size > 0;
}

ByteView TlsConnection::output(Instant now) {
  now = advance(now);
  while (state_ == State::kOpen && tls_->pending_ciphertext() <= kMaxOutput - kRecord && write_record()) {
  }
  if (state_ == State::kOpen && http_.failure()) handle_rule_broken(now);
  if (state_ == State::kDone) return {};
  const ByteView pending = tls_->ciphertext();
  if (pending.empty()) tls_->release_memory();
  return pending;
}

void TlsConnection::consume_output(std::size_t count) {
  if (count > 0) ++stats_.packets_out;
  stats_.bytes_out += count;
  tls_->consume_ciphertext(count);
  if (state_ == State::kClosing && tls_->pending_ciphertext() == 0) transition_to(State::kDone);
}

// ---- time ----

void TlsConnection::handle_timeout(Instant now) {
  now = advance(now);
  switch (state_) {
    case State::kDone: return;
    case State::kClosing:
      if (now >= closing_until_) transition_to(State::kDone);
      return;
    case State::kHandshaking:
    case State::kOpen: break;
  }
  if (!confirmed_ && now >= handshake_deadline()) {
    return end({Errc::kTimeout, "the peer did not finish the handshake"});
  }
  if (now >= last_heard_ + options_.idle_timeout) return end({Errc::kTimeout, "the peer was silent for too long"});
  if (keep_alive_ <= Duration{} || now < quiet_since() + keep_alive_ || state_ == State::kHandshaking) return;
  last_asked_ = now;
  // What the socket does not take yet asks as well as a PING would.
  if (tls_->pending_ciphertext() == 0) http_.ping();
}

std::optional<Instant> TlsConnection::next_deadline() const {
  if (state_ == State::kDone) return std::nullopt;
  if (state_ == State::kClosing) return closing_until_;
  std::optional<Instant> next = last_heard_ + options_.idle_timeout;
  if (!confirmed_) next = earlier(next, handshake_deadline());
  if (keep_alive_ > Duration{} && state_ == State::kOpen) next = earlier(next, quiet_since() + keep_alive_);
  return next;
}

// ---- the end ----

void TlsConnection::close_with(Instant now, std::uint64_t http_error, std::string_view reason, Error why) {
  if (!is_alive()) return;
  // Nobody listens for HTTP yet. A server's last flight may tell nothing about why.
  if (state_ == State::kHandshaking) return end(std::move(why));
  http_.say_goodbye(to_http2_code(http_error), reason);
  say_goodbye();
  start_closing(now, std::move(why));
}

void TlsConnection::handle_rule_broken(Instant now) {
  const Http2Session::GoAway failure = *http_.failure();
  const Error why{Errc::kProtocol, fmt::format("HTTP/2 error {}: {}", nghttp2_http2_strerror(failure.code), failure.reason)};
  if (!http_.said_goodbye()) {
    http_.say_goodbye(failure.code, failure.reason);
    say_goodbye();
  }
  start_closing(now, why);
}

// Control frames that wait before it go out as well; streams' bytes do not.
void TlsConnection::say_goodbye() {
  for (std::size_t i = 0; i < kFarewellRecords && !http_.said_goodbye() && write_record(); ++i) {
  }
}

void TlsConnection::start_closing(Instant now, Error why) {
  tls_->close();
  closing_until_ = now + kGoodbyeTime;
  transition_to(tls_->pending_ciphertext() > 0 ? State::kClosing : State::kDone);
  tell_end(std::move(why));
}

void TlsConnection::end(Error why) {
  transition_to(State::kDone);
  tell_end(std::move(why));
}

void TlsConnection::handle_disconnected(const Error& error) {
  if (!is_alive()) return transition_to(State::kDone);
  // After a GOAWAY that gave a reason it is the usual end, if not the polite one.
  const auto& goaway = http_.peer_goaway();
  if (goaway && (!goaway->reason.empty() || goaway->code != NGHTTP2_NO_ERROR)) return end(error_of_peer());
  const bool silent = error.code == make_error_code(natt::Errc::kTimeout);
  end({silent ? Errc::kTimeout : Errc::kIo, fmt::format("the TCP connection ended: {}", error.message)});
}

void TlsConnection::transition_to(State state) {
  if (options_.log.enabled(LogLevel::kDebug)) {
    options_.log(LogLevel::kDebug,
                 fmt::format("tunnel.tls_connection.state from={} to={}", to_string(state_), to_string(state)));
  }
  state_ = state;
}

// ---- datagrams and figures ----

DatagramResult TlsConnection::send_datagram(StreamId stream, ByteView payload) {
  if (payload.size() > kMaxDatagram) return DatagramResult::kTooLarge;
  if (!is_alive() || !http_.takes_datagrams(stream.number)) return DatagramResult::kNotAllowed;
  if (http_.send_datagram_capsule(stream.number, payload)) return DatagramResult::kQueued;
  ++stats_.datagrams_dropped_out;
  return DatagramResult::kNoRoom;
}

ConnectionStats TlsConnection::stats() const {
  ConnectionStats stats = stats_;
  stats.datagrams_dropped_in = http_.counters().datagrams_dropped_in;
  stats.streams = static_cast<std::uint32_t>(http_.stream_count());
  return stats;
}

}  // namespace natt::tunnel
