// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_sessions.h"

namespace natt::tunnel::uv {


GatewaySessions::GatewaySessions(const Credentials& credentials, const GatewayPolicy& policy,
                                 natt::uv::EndpointDriver& driver, Random& random, LogSink log)
    : credentials_(credentials),
      policy_(policy),
      driver_(driver),
      random_(random),
      log_(log),
      verifier_(credentials),
      transaction_key_(random.bytes<16>()) {}

void GatewaySessions::handle_offer(Instant now, BrokerIndex broker, const ForwardedOffer& offer) {
  const auto verified = verifier_.verify(offer.sealed_offer, signaling_->roster(), signaling_->wall_now());
  if (!verified) {
    // Nothing in it can be trusted, not even whom to answer.
    log_(LogLevel::kWarning, "natt.offer.refused session=" + offer.session.to_string() +
                                 " claimed_client=" + offer.client.uri() + " reason=\"" + verified.error().message +
                                 "\"");
    return;
  }
  SessionAnswer answer{.session = verified->offer.session, .client = verified->client, .time = signaling_->wall_now()};
  answer.refusal = admit(now, broker, *verified, offer.vouched, answer);
  answer_offer(now, broker, *verified, answer);
  driver_.flush(now);
}

std::optional<RefusalReason> GatewaySessions::admit(Instant now, BrokerIndex broker, const VerifiedOffer& offer,
                                                    std::vector<IpAddress> vouched, SessionAnswer& answer) {
  if (!policy_.knows(offer.client)) return RefusalReason::kNotEntitled;
  if (sessions_.size() >= kMaxSessions) return RefusalReason::kTooManySessions;
  answer.punch = make_punch_credential(random_);
  answer.transaction_key = transaction_key_;
  Endpoint& endpoint = driver_.endpoint();
  const SessionId& id = offer.offer.session;
  const auto opened = endpoint.open_session(now, id, answer.punch, offer.offer.punch, transaction_key_, now,
                                            {.seen = vouched, .configured = {}});
  if (!opened) {
    log_(LogLevel::kWarning, "natt.offer.failed client=" + offer.client.uri() + " reason=\"" +
                                 opened.error().message + "\"");
    return RefusalReason::kTooManySessions;
  }
  endpoint.add_remote_candidates(now, id, offer.offer.candidates, {.seen = std::move(vouched), .configured = {}});
  answer.candidates = endpoint.local_candidates();
  answer.udp = endpoint.udp_reach();
  sessions_.emplace(id, Session{.broker = broker, .client = offer.client, .opened = now});
  return std::nullopt;
}

void GatewaySessions::answer_offer(Instant now, BrokerIndex broker, const VerifiedOffer& offer,
                                   const SessionAnswer& answer) {
  log_(LogLevel::kInfo, "natt.offer session=" + answer.session.to_string() + " client=" + offer.client.uri() +
                            " verdict=" + (answer.refusal ? std::string(to_string(*answer.refusal)) : "accepted"));
  const auto sealed = seal_answer(answer, offer.digest, credentials_);
  if (!sealed) {
    log_(LogLevel::kError, "natt.answer.failed reason=\"" + sealed.error().message + "\"");
    return;
  }
  static_cast<void>(signaling_->send(now, broker, AnswerMessage{.session = answer.session, .vouched = {},
                                                                .sealed_answer = *sealed}));
}

void GatewaySessions::handle_candidates(Instant now, const CandidateBatch& batch) {
  if (!sessions_.contains(batch.session)) return;
  driver_.endpoint().add_remote_candidates(now, batch.session, batch.candidates,
                                           {.seen = batch.vouched, .configured = {}});
  driver_.flush(now);
}

void GatewaySessions::handle_relay_grant(Instant now, const RelayGrantMessage& message) {
  const auto found = sessions_.find(message.session);
  if (found == sessions_.end()) return;
  if (message.transport == RelayTransport::kTcp) return join_relay(now, found->second, message);
  if (!signaling_->may_relay(found->second.broker, message.relay)) {
    return log_(LogLevel::kWarning, "natt.relay.refused relay=" + message.relay.to_string() +
                                        " reason=\"not an address of the broker\"");
  }
  driver_.endpoint().add_relay(now, signaling_->wall_now(), message.session, message.relay, message.grant);
  driver_.flush(now);
}

void GatewaySessions::join_relay(Instant now, const Session& session, const RelayGrantMessage& message) {
  if (legs_ == nullptr) return;
  legs_->join(now, session.client, message, [&](natt::uv::RelayJoin::Listener& listener) {
    return signaling_->join_relay(now, session.broker, message, listener);
  });
}

void GatewaySessions::handle_session_end(Instant now, const SessionEnd& message) {
  const auto found = sessions_.find(message.session);
  if (found == sessions_.end()) return;
  found->second.ended_by_client = true;
  // A client closes the session when it needs none of it: the tunnel is gone, or runs directly. For any other reason
  // (its signaling is lost) a tunnel decides.
  if (message.reason == SessionEndReason::kClosed || found->second.tunnels == 0) {
    end(now, message.session, SessionEndReason::kClosed);
  }
}

void GatewaySessions::trickle(Instant now) {
  const auto candidates = driver_.endpoint().local_candidates();
  for (const auto& [id, session] : sessions_) {
    if (now - session.opened > kTrickleFor) continue;
    static_cast<void>(signaling_->send(now, session.broker, CandidateBatch{.session = id, .candidates = candidates}));
  }
}

void GatewaySessions::request_relay_renewal(Instant now, const SessionRelayRenewal& renewal) {
  const auto found = sessions_.find(renewal.session);
  if (found == sessions_.end()) return;
  static_cast<void>(signaling_->send(
      now, found->second.broker,
      RelayRenewal{.session = renewal.session, .transport = RelayTransport::kUdp, .sealed = renewal.sealed}));
}

void GatewaySessions::note_tunnel(const SessionId& session) {
  const auto found = sessions_.find(session);
  if (found != sessions_.end()) ++found->second.tunnels;
}

void GatewaySessions::release_tunnel(Instant now, const SessionId& session, bool leg_is_gone) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.tunnels == 0) return;
  if (--found->second.tunnels > 0) return;
  // The client may be changing paths inside the session: it gets the time of a new handshake.
  found->second.opened = now;
  if (found->second.ended_by_client) return end(now, session, SessionEndReason::kClosed);
  if (leg_is_gone) end(now, session, SessionEndReason::kPeerGone);
}

void GatewaySessions::end_client(Instant now, const Identity& client) {
  std::vector<SessionId> ended;
  for (const auto& [id, session] : sessions_) {
    if (session.client == client) ended.push_back(id);
  }
  for (const SessionId& id : ended) end(now, id, SessionEndReason::kRevoked);
}

void GatewaySessions::end(Instant now, const SessionId& id, SessionEndReason reason) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  static_cast<void>(signaling_->send(now, found->second.broker, SessionEnd{.session = id, .reason = reason}));
  sessions_.erase(found);
  if (legs_ != nullptr) legs_->cancel(id);
  driver_.endpoint().close_session(signaling_->wall_now(), id);
  driver_.flush(now);
}

void GatewaySessions::handle_timeout(Instant now) {
  std::vector<SessionId> unused;
  for (const auto& [id, session] : sessions_) {
    if (session.tunnels == 0 && now - session.opened >= kUnusedLifetime) unused.push_back(id);
  }
  for (const SessionId& id : unused) end(now, id, SessionEndReason::kPeerGone);
}

std::optional<Instant> GatewaySessions::next_deadline() const {
  std::optional<Instant> deadline;
  for (const auto& [id, session] : sessions_) {
    if (session.tunnels == 0) deadline = earlier(deadline, session.opened + kUnusedLifetime);
  }
  return deadline;
}

}  // namespace natt::tunnel::uv
