// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_client.h>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>
#include <natt/stun_builder.h>

namespace natt {
namespace {

tl::unexpected<Error> bad_configuration(std::string_view what) {
  return fail(Errc::kUnavailable, fmt::format("STUN client initialization failed: {}", what));
}

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Result<std::unique_ptr<StunClient>> StunClient::make(StunClientOptions options, Random& random) {
  if (options.server.ip.is_unspecified()) return bad_configuration("no broker address is configured");
  if (options.server.port == 0) return bad_configuration("the broker address has no port");
  if (options.credential && options.credential->username.empty()) {
    return bad_configuration("the broker's credential has no username");
  }
  if (options.keepalive_interval < std::chrono::seconds(1)) {
    return bad_configuration("natt/stunKeepaliveInterval has to be at least 1 second");
  }
  if (options.retransmission.rc == 0 || options.retransmission.rto <= Duration::zero()) {
    return bad_configuration("the retransmission options allow no request at all");
  }
  return std::unique_ptr<StunClient>(new StunClient(std::move(options), random));
}

StunClient::StunClient(StunClientOptions options, Random& random)
    : options_(std::move(options)), random_(random), retransmission_(options_.retransmission) {}

void StunClient::transition_to(State next) {
  state_ = next;
  if (next != State::kAsking) retransmission_.stop();
  if (next != State::kWaiting) wake_.reset();
}

void StunClient::start(Instant now, WallTime wall_now) {
  if (state_ == State::kIdle) begin_transaction(now, wall_now);
}

void StunClient::set_credential(Instant now, WallTime wall_now, StunCredential credential) {
  const bool first = !options_.credential.has_value();
  options_.credential = std::move(credential);
  // A transaction under way with the old credential ends by itself: the broker keeps it for a while.
  if (first && state_ == State::kWaiting) begin_transaction(now, wall_now);
}

void StunClient::set_keepalive_interval(Instant now, Duration interval) {
  options_.keepalive_interval = std::max<Duration>(interval, std::chrono::seconds(1));
  if (state_ == State::kWaiting && wake_) wake_ = std::min(*wake_, now + options_.keepalive_interval);
}

void StunClient::refresh(Instant now, WallTime wall_now) {
  switch (state_) {
    case State::kAsking:
    case State::kWaiting: begin_transaction(now, wall_now); return;
    case State::kIdle:
    case State::kClosed: return;
  }
}

void StunClient::close() {
  transition_to(State::kClosed);
  transmit_.reset();
  events_.clear();
}

void StunClient::begin_transaction(Instant now, WallTime wall_now) {
  if (options_.credential_required && !options_.credential) {
    transition_to(State::kWaiting);  // for set_credential: no deadline
    return;
  }
  const auto& credential = options_.credential;
  transaction_ =
      credential ? make_transaction_id(credential->transaction_key, random_) : make_plain_transaction_id(random_);
  password_.reset();
  if (credential) password_ = credential->password;
  request_ = build_request(wall_now);
  asked_at_ = now;
  transition_to(State::kAsking);
  retransmission_.start(now);
  send_request();
}

ByteBuffer StunClient::build_request(WallTime wall_now) const {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, StunClass::kRequest, kStunBinding, transaction_);
  if (const auto& credential = options_.credential) {
    builder.add_text(StunAttribute::kUsername, credential->username);
    builder.add_number64(StunAttribute::kNattTime, static_cast<std::uint64_t>(wall_now.time_since_epoch().count()));
    builder.add_integrity_sha256(credential->password.view());
  }
  builder.add_fingerprint();
  const auto bytes = builder.finish();
  if (!bytes) return {};  // a username longer than any message; nothing is sent and the transaction fails
  return {bytes->begin(), bytes->end()};
}

void StunClient::send_request() {
  if (request_.empty()) return;
  transmit_ = Transmit{options_.server, {}, request_};
  ++stats_.requests_sent;
}

bool StunClient::handle_datagram(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes) {
  const auto message = StunMessage::parse(bytes);
  if (!message) return false;
  const StunClass kind = message->message_class();
  if (kind != StunClass::kSuccess && kind != StunClass::kError) return false;
  if (state_ != State::kAsking || message->transaction_id() != transaction_) return false;
  if (from != options_.server) {
    ++stats_.dropped_wrong_source;
  } else if (message->method() != kStunBinding) {
    ++stats_.dropped_malformed;
  } else if (!is_authentic(*message)) {
    ++stats_.dropped_unauthentic;
  } else {
    handle_response(now, local, *message);
  }
  return true;
}

bool StunClient::is_authentic(const StunMessage& message) const {
  if (password_) return message.has_valid_fingerprint() && message.has_valid_integrity_sha256(password_->view());
  // Ordinary servers may leave FINGERPRINT out; a wrong one is not STUN.
  return !message.find(StunAttribute::kFingerprint) || message.has_valid_fingerprint();
}

void StunClient::handle_response(Instant now, const IpAddress& local, const StunMessage& message) {
  std::array<std::uint16_t, 1> unknown{};
  if (message.message_class() == StunClass::kError) {
    const auto error = message.error_code();
    if (!error) return fail_transaction(now, "the server answered with an error without a code");
    return fail_transaction(now, fmt::format("the server answered with error {}", error->code));
  }
  // RFC 8489 section 6.3.3: "the response is discarded and the transaction is considered to have failed"
  if (message.unknown_required(unknown) != 0) {
    return fail_transaction(now, fmt::format("the answer has an unknown required attribute 0x{:04x}", unknown[0]));
  }
  auto mapped = message.xor_mapped_address();
  // Servers of RFC 3489 vintage have nothing better; ours always sends the XORed one.
  if (!mapped && !password_) mapped = message.mapped_address();
  if (!mapped || mapped->port == 0 || mapped->ip.is_unspecified()) {
    return fail_transaction(now, "the answer has no mapped address");
  }
  accept_mapping(now, local, *mapped);
}

void StunClient::accept_mapping(Instant now, const IpAddress& local, const SocketAddress& mapped) {
  ++stats_.responses;
  const bool changed = previous_mapped_ && *previous_mapped_ != mapped;
  if (changed) {
    push_event(StunMappingChanged{*previous_mapped_, mapped});
  } else if (!mapped_) {
    push_event(StunMapped{mapped, local, now - asked_at_});
  }
  if (changed || !mapped_) {
    options_.log(LogLevel::kInfo,
                 fmt::format("natt.stun.mapped server={} mapped={}", options_.server.to_string(), mapped.to_string()));
  }
  mapped_ = mapped;
  previous_mapped_ = mapped;
  last_answer_ = now;
  failure_pause_ = Duration::zero();
  end_transaction(now, options_.keepalive_interval);
}

void StunClient::end_transaction(Instant now, Duration pause) {
  transition_to(State::kWaiting);
  wake_ = now + pause;
}

void StunClient::fail_transaction(Instant now, const std::string& reason) {
  mapped_.reset();
  Error error{make_error_code(Errc::kTimeout), fmt::format("STUN Binding Request failed: {}", reason)};
  options_.log(LogLevel::kWarning,
               fmt::format("natt.stun.failed server={} reason=\"{}\"", options_.server.to_string(), error.message));
  push_event(StunFailed{std::move(error)});
  failure_pause_ = failure_pause_ == Duration::zero() ? options_.retry_after_failure : 2 * failure_pause_;
  failure_pause_ = std::min(failure_pause_, options_.keepalive_interval);
  end_transaction(now, failure_pause_);
}

void StunClient::handle_timeout(Instant now, WallTime wall_now) {
  if (state_ == State::kWaiting && wake_ && now >= *wake_) return begin_transaction(now, wall_now);
  if (state_ != State::kAsking) return;
  switch (retransmission_.handle_timeout(now)) {
    case StunRetransmission::Verdict::kWait: return;
    case StunRetransmission::Verdict::kSendAgain: return send_request();
    case StunRetransmission::Verdict::kFailed:
      return fail_transaction(now,
                              fmt::format("no answer from {} to {} requests in {:.1f} s", options_.server.to_string(),
                                          options_.retransmission.rc, seconds(now - asked_at_)));
  }
}

std::optional<Instant> StunClient::next_deadline() const { return earlier(retransmission_.deadline(), wake_); }

std::optional<Transmit> StunClient::poll_transmit() { return std::exchange(transmit_, std::nullopt); }

std::optional<StunClientEvent> StunClient::poll_event() {
  if (events_.empty()) return std::nullopt;
  StunClientEvent event = std::move(events_.front());
  events_.erase(events_.begin());
  return event;
}

void StunClient::push_event(StunClientEvent event) {
  if (events_.size() == kMaxEvents) events_.erase(events_.begin());
  events_.push_back(std::move(event));
}

}  // namespace natt
