// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/session_negotiator.h"

#include <algorithm>

namespace natt::tunnel::uv {

SessionNegotiator::SessionNegotiator(const Credentials& credentials, natt::uv::SiteSignaling& signaling,
                                     natt::uv::EndpointDriver& driver, Random& random, LogSink log, Identity gateway,
                                     RelayTransport transport)
    : credentials_(credentials),
      signaling_(signaling),
      driver_(driver),
      random_(random),
      log_(log),
      gateway_(std::move(gateway)),
      transport_(transport) {}

void SessionNegotiator::start(Instant now) {
  session_ = SessionId::make(random_);
  peer_udp_.reset();
  refusal_.reset();
  broker_.reset();
  tries_ = 0;
  ticket_.stop();
  state_ = State::kWaiting;
  offer(now);
}

void SessionNegotiator::offer(Instant now) {
  retry_at_.reset();
  const auto brokers = signaling_.connected();
  if (brokers.empty()) return;  // handle_broker_connected comes back here
  broker_ = brokers[tries_++ % brokers.size()];
  punch_ = make_punch_credential(random_);
  // A session id is good for one offer: a gateway that saw the first copy refuses the second as a replay.
  if (tries_ > 1) session_ = SessionId::make(random_);
  const Endpoint& endpoint = driver_.endpoint();
  const auto sealed = seal_offer({.session = session_,
                                  .gateway = gateway_,
                                  .punch = punch_,
                                  .udp = endpoint.udp_reach(),
                                  .candidates = endpoint.local_candidates(),
                                  .time = signaling_.wall_now()},
                                 credentials_);
  if (!sealed) return log_(LogLevel::kError, "natt.offer.failed reason=\"" + sealed.error().message + "\"");
  digest_ = sealed->digest;
  const auto sent = signaling_.send(
      now, *broker_, OfferMessage{.session = session_, .gateway = gateway_, .sealed_offer = sealed->bytes});
  if (!sent) {
    retry_at_ = now + kRetry;
    return;
  }
  state_ = State::kOffered;
}

void SessionNegotiator::handle_broker_connected(Instant now, BrokerIndex) {
  if (state_ == State::kWaiting && !retry_at_) offer(now);
}

void SessionNegotiator::handle_broker_lost(Instant now, BrokerIndex broker) {
  if (state_ != State::kOffered || broker_ != broker) return;
  state_ = State::kWaiting;
  retry_at_ = now + kRetry;
}

void SessionNegotiator::handle_timeout(Instant now) {
  if (retry_at_ && now >= *retry_at_ && state_ == State::kWaiting) offer(now);
  if (ticket_.wants_asking(now)) request_relay(now);
}

std::optional<Instant> SessionNegotiator::next_deadline(Instant now) const {
  return earlier(retry_at_, ticket_.next_deadline(now));
}

void SessionNegotiator::request_relay(Instant now) {
  if (transport_ == RelayTransport::kTcp) ticket_.note_asked(now);
  static_cast<void>(signaling_.send(now, *broker_, RelayRequest{.session = session_, .transport = transport_}));
}

bool SessionNegotiator::handle_answer(Instant now, const AnswerMessage& message) {
  if (state_ != State::kOffered || message.session != session_) return false;
  const auto answer = verify_answer(message.sealed_answer, session_, gateway_, digest_, credentials_,
                                    signaling_.roster(), signaling_.wall_now());
  if (!answer) {
    log_(LogLevel::kWarning, "natt.answer.refused gateway=" + gateway_.uri() + " reason=\"" +
                                 answer.error().message + "\"");
    return true;
  }
  if (answer->refusal) {
    refusal_ = answer->refusal;
    state_ = State::kRefused;
    log_(LogLevel::kWarning, "natt.offer.refused gateway=" + gateway_.uri() +
                                 " reason=" + std::string(to_string(*refusal_)));
    return true;
  }
  accept(now, *answer, message.vouched);
  return true;
}

void SessionNegotiator::accept(Instant now, const SessionAnswer& answer, std::vector<IpAddress> vouched) {
  state_ = State::kAccepted;
  peer_udp_ = answer.udp;
  PeerVouch vouch{.seen = std::move(vouched), .configured = {}};
  if (const RosterDevice* device = signaling_.roster().find(gateway_)) {
    for (const SocketAddress& address : device->addresses) vouch.configured.push_back(address.ip);
  }
  Endpoint& endpoint = driver_.endpoint();
  const auto opened =
      endpoint.open_session(now, session_, punch_, answer.punch, answer.transaction_key, now, vouch);
  if (!opened) log_(LogLevel::kWarning, "natt.punch.failed reason=\"" + opened.error().message + "\"");
  endpoint.add_remote_candidates(now, session_, answer.candidates, vouch);
  // The relay is prepared while the checks run, so that at its time nothing is left to ask.
  if (transport_ == RelayTransport::kTcp) ticket_.start(now);
  request_relay(now);
  trickle(now);
  driver_.flush(now);
}

bool SessionNegotiator::handle_rejection(Instant now, BrokerIndex broker, const OfferRejection& rejection) {
  if (state_ != State::kOffered || rejection.session != session_ || broker_ != broker) return false;
  log_(LogLevel::kInfo, "natt.offer.rejected gateway=" + gateway_.uri() +
                            " reason=" + std::string(to_string(rejection.reason)));
  refusal_ = rejection.reason;
  // Not final: another broker may reach the gateway, and a gateway that is offline may come.
  state_ = State::kWaiting;
  retry_at_ = now + kRetry;
  return true;
}

bool SessionNegotiator::handle_candidates(Instant now, const CandidateBatch& batch) {
  if (state_ != State::kAccepted || batch.session != session_) return false;
  PeerVouch vouch{.seen = batch.vouched, .configured = {}};
  if (const RosterDevice* device = signaling_.roster().find(gateway_)) {
    for (const SocketAddress& address : device->addresses) vouch.configured.push_back(address.ip);
  }
  driver_.endpoint().add_remote_candidates(now, session_, batch.candidates, std::move(vouch));
  driver_.flush(now);
  return true;
}

bool SessionNegotiator::handle_relay_grant(Instant now, const RelayGrantMessage& message) {
  if (state_ != State::kAccepted || message.session != session_ || message.transport != transport_) return false;
  if (!signaling_.may_relay(*broker_, message.relay)) {
    log_(LogLevel::kWarning, "natt.relay.refused relay=" + message.relay.to_string() +
                                 " reason=\"not an address of the broker\"");
    return true;
  }
  if (transport_ == RelayTransport::kTcp) {
    ticket_.handle_grant(now, signaling_.wall_now(), message);
    return true;
  }
  driver_.endpoint().add_relay(now, signaling_.wall_now(), session_, message.relay, message.grant);
  driver_.flush(now);
  return true;
}

bool SessionNegotiator::handle_relay_refusal(Instant now, const RelayRefusal& refusal) {
  if (state_ != State::kAccepted || refusal.session != session_ || refusal.transport != RelayTransport::kTcp) {
    return false;
  }
  log_(LogLevel::kWarning, "natt.relay.refused gateway=" + gateway_.uri() +
                               " reason=" + std::string(to_string(refusal.reason)));
  ticket_.handle_refusal();
  return !ticket_.is_valid(now);
}

void SessionNegotiator::trickle(Instant now) {
  if (state_ != State::kAccepted) return;
  static_cast<void>(signaling_.send(
      now, *broker_, CandidateBatch{.session = session_, .candidates = driver_.endpoint().local_candidates()}));
}

void SessionNegotiator::request_relay_renewal(Instant now, const SessionRelayRenewal& renewal) {
  if (renewal.session != session_ || !broker_) return;
  static_cast<void>(signaling_.send(
      now, *broker_,
      RelayRenewal{.session = session_, .transport = RelayTransport::kUdp, .sealed = renewal.sealed}));
}

void SessionNegotiator::end(Instant now) {
  if (state_ == State::kIdle) return;
  if (broker_ && (state_ == State::kAccepted || state_ == State::kOffered)) {
    static_cast<void>(
        signaling_.send(now, *broker_, SessionEnd{.session = session_, .reason = SessionEndReason::kClosed}));
  }
  driver_.endpoint().close_session(signaling_.wall_now(), session_);
  driver_.flush(now);
  state_ = State::kIdle;
  retry_at_.reset();
  ticket_.stop();
}

}  // namespace natt::tunnel::uv
