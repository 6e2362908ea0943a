// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_leg.h>

#include <fmt/format.h>

#include <algorithm>

namespace natt {
namespace {

// Bind again after 0.5 s, 1 s, 2 s, 4 s, 4 s ...: the first one is often lost to a NAT or a queue, and the relay has
// 2.5 s of head start to lose.
constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
constexpr unsigned kRetryDoublings = 3;
// After 0.5 + 1 + 2 s without an answer.
constexpr unsigned kLostAfterBinds = 3;
// A bound leg asks again each second, and the fourth time with its grant: the relay may have restarted.
constexpr Duration kKeepaliveRetry = std::chrono::seconds(1);
constexpr unsigned kRebindAfterKeepalives = 3;
// While signaling is away.
constexpr Duration kAskAgain = std::chrono::seconds(15);
// Only a caller that never polls meets it.
constexpr std::size_t kQueueLimit = 16;

Duration retry_interval(unsigned unanswered) { return kFirstRetry * (1U << std::min(unanswered, kRetryDoublings)); }

}  // namespace

RelayLeg::RelayLeg(const Options& options, RelayGrant grant) : options_(options), grant_(std::move(grant)) {}

void RelayLeg::start(Instant now, WallTime wall_now) {
  if (state_ != State::kIdle) return;
  schedule_grant(now, wall_now);
  unanswered_ = 0;
  transition_to(State::kBinding);
  send_bind(now, wall_now);
}

void RelayLeg::renew(RelayGrant grant, Instant now, WallTime wall_now) {
  if (closed() || grant.session != grant_.session || grant.expires < grant_.expires) return;
  grant_ = std::move(grant);
  if (state_ == State::kIdle) return;
  grant_delivered_ = false;
  schedule_grant(now, wall_now);
  send_bind(now, wall_now);
}

void RelayLeg::rebind(Instant now, WallTime wall_now) {
  if (closed() || state_ == State::kIdle) return;
  unanswered_ = 0;
  transition_to(State::kBinding);
  send_bind(now, wall_now);
}

void RelayLeg::rebind_from(IpAddress local, Instant now, WallTime wall_now) {
  options_.local = local;
  rebind(now, wall_now);
}

void RelayLeg::close(WallTime wall_now) {
  if (closed()) return;
  if (leg_) {
    RelayControl control;
    control.header = {RelayKind::kClose, *leg_};
    control.counter = next_counter(wall_now);
    control.time = wall_now;
    send(control);
  }
  transition_to(State::kClosed);
}

void RelayLeg::schedule_grant(Instant now, WallTime wall_now) {
  const Duration left = grant_.expires - wall_now;
  expires_at_ = now + left;
  renew_at_ = now + std::max(left - Duration(options_.renew_before), Duration::zero());
}

// Milliseconds with room for a thousand frames in each.
std::uint64_t RelayLeg::next_counter(WallTime wall_now) {
  const auto from_time = static_cast<std::uint64_t>(wall_now.time_since_epoch().count()) << 10;
  counter_ = std::max(counter_ + 1, from_time);
  return counter_;
}

void RelayLeg::send(const RelayControl& control) {
  if (transmits_.size() >= kQueueLimit) transmits_.pop_front();
  transmits_.push_back({options_.relay, options_.local, serialize_relay_control(control, grant_.key)});
}

void RelayLeg::send_bind(Instant now, WallTime wall_now) {
  RelayControl control;
  control.header.kind = RelayKind::kBind;
  control.counter = next_counter(wall_now);
  control.time = wall_now;
  control.grant = grant_.sealed;
  send(control);
  last_bind_ = transmits_.back();
  bind_counter_ = control.counter;
  sent_at_ = now;
  ++stats_.binds_sent;
  retry_at_ = now + retry_interval(unanswered_);
}

void RelayLeg::send_keepalive(Instant now, WallTime wall_now) {
  RelayControl control;
  control.header = {RelayKind::kKeepalive, *leg_};
  control.counter = next_counter(wall_now);
  control.time = wall_now;
  send(control);
  sent_at_ = now;
  ++stats_.keepalives_sent;
  retry_at_ = now + kKeepaliveRetry;
}

void RelayLeg::handle_datagram(Instant now, WallTime /*wall_now*/, const SocketAddress& from, ByteView datagram) {
  if (closed() || state_ == State::kIdle) return;
  const auto control = parse_relay_control(datagram);
  if (!control || from != options_.relay || !verify_relay_frame(datagram, grant_.key)) {
    ++stats_.rejected;
    return;
  }
  switch (control->header.kind) {
    case RelayKind::kChallenge:
      return handle_challenge(now, *control);
    case RelayKind::kBound:
      return handle_bound(now, *control);
    case RelayKind::kClosed:
      return handle_closed(*control);
    case RelayKind::kData:
    case RelayKind::kBind:
    case RelayKind::kEcho:
    case RelayKind::kKeepalive:
    case RelayKind::kClose:
      ++stats_.rejected;  // ours to send, not to receive
  }
}

void RelayLeg::handle_challenge(Instant now, const RelayControl& control) {
  if (control.counter != counter_) {  // answers a frame that a later one has replaced
    ++stats_.rejected;
    return;
  }
  RelayControl echo;
  echo.header = {RelayKind::kEcho, control.header.leg};
  echo.counter = control.counter;
  echo.cookie = control.cookie;
  send(echo);
  sent_at_ = now;
  // A keepalive that is challenged means that our address has changed on the way.
  transition_to(State::kEchoing);
}

void RelayLeg::handle_bound(Instant now, const RelayControl& control) {
  if (control.counter > counter_ || control.counter < answered_counter_) {
    ++stats_.rejected;
    return;
  }
  const bool answers_latest = control.counter == counter_ && control.counter != answered_counter_;
  answered_counter_ = control.counter;
  if (!answers_latest) {
    if (state_ == State::kBound) report_peer(control.peer_bound);
    return;
  }
  if (control.counter >= bind_counter_) grant_delivered_ = true;
  unanswered_ = 0;
  lost_ = false;
  retry_at_ = now + options_.keepalive;
  const bool news = state_ != State::kBound || leg_ != control.header.leg;
  leg_ = control.header.leg;
  header_ = make_relay_header(RelayKind::kData, *leg_);
  transition_to(State::kBound);
  if (!news) return report_peer(control.peer_bound);
  peer_bound_ = control.peer_bound;
  events_.emplace_back(Bound{now - sent_at_, peer_bound_});
}

void RelayLeg::report_peer(bool peer_bound) {
  if (peer_bound == peer_bound_) return;
  peer_bound_ = peer_bound;
  events_.emplace_back(PeerChanged{peer_bound});
}

void RelayLeg::handle_closed(const RelayControl& control) {
  // An old session's farewell, replayed: its leg id was another.
  if (!leg_ || control.header.leg != *leg_) {
    ++stats_.rejected;
    return;
  }
  end(static_cast<RelayCloseReason>(control.reason));
}

void RelayLeg::end(RelayCloseReason reason) {
  transition_to(State::kClosed);
  events_.emplace_back(Closed{reason});
}

void RelayLeg::handle_timeout(Instant now, WallTime wall_now) {
  if (closed()) return;
  if (expires_at_ && now >= *expires_at_) return end(RelayCloseReason::kExpired);
  if (renew_at_ && now >= *renew_at_) {
    renew_at_ = now + kAskAgain;
    events_.emplace_back(RenewalNeeded{});
  }
  if (retry_at_ && now >= *retry_at_) handle_retry(now, wall_now);
}

// The same frame again: should the first one have arrived, its challenge is still good. On a path of more than 0.5 s
// each new counter would devalue the challenge that is under way.
void RelayLeg::repeat_bind(Instant now) {
  transmits_.push_back(last_bind_);
  ++stats_.binds_sent;
  retry_at_ = now + retry_interval(unanswered_);
}

void RelayLeg::handle_retry(Instant now, WallTime wall_now) {
  ++unanswered_;
  if (state_ == State::kBinding && unanswered_ == 1) return repeat_bind(now);
  if (state_ == State::kBound && grant_delivered_) {
    if (unanswered_ <= kRebindAfterKeepalives) return send_keepalive(now, wall_now);
    unanswered_ = 0;
  }
  const bool was_bound = state_ == State::kBound;
  transition_to(State::kBinding);
  if (!was_bound && unanswered_ >= kLostAfterBinds && !lost_) {
    lost_ = true;
    events_.emplace_back(Lost{});
  }
  send_bind(now, wall_now);
}

std::optional<Instant> RelayLeg::next_deadline() const {
  if (closed()) return std::nullopt;
  return earlier(retry_at_, earlier(renew_at_, expires_at_));
}

std::optional<Transmit> RelayLeg::poll_transmit() {
  if (transmits_.empty()) return std::nullopt;
  Transmit transmit = std::move(transmits_.front());
  transmits_.pop_front();
  return transmit;
}

std::optional<RelayLeg::Event> RelayLeg::poll_event() {
  if (events_.empty()) return std::nullopt;
  const Event event = events_.front();
  events_.pop_front();
  return event;
}

std::optional<ByteView> RelayLeg::unwrap(const SocketAddress& from, ByteView datagram) const {
  if (!bound() || from != options_.relay || datagram.size() <= kRelayHeaderSize ||
      !std::equal(header_.begin(), header_.end(), datagram.begin())) {
    return std::nullopt;
  }
  return datagram.subspan(kRelayHeaderSize);
}

void RelayLeg::transition_to(State next) {
  if (state_ == next) return;
  state_ = next;
  if (!options_.log.enabled(LogLevel::kInfo)) return;
  constexpr std::array<std::string_view, 5> kNames = {"idle", "binding", "echoing", "bound", "closed"};
  options_.log(LogLevel::kInfo, fmt::format("natt.relay.leg relay={} state={}", options_.relay.to_string(),
                                            kNames[static_cast<std::size_t>(next)]));
}

}  // namespace natt
