// SPDX-License-Identifier: Apache-2.0
#pragma once

// The signaling side of one race: offers the session to the gateway through a broker that
// can reach it, opens the punch when the answer is there, trickles candidates, and asks for
// the relay: over UDP it belongs to the endpoint from then on, over TCP (TLS sites) the grant
// waits here for its step. If the broker is lost or refuses, the next one is tried. Resource
// type; everything borrowed outlives it.

#include <natt/session_offer.h>
#include <natt/uv/site_signaling.h>

#include "src/uv/client/relay_ticket.h"

namespace natt::tunnel::uv {

class SessionNegotiator {
 public:
  enum class State : std::uint8_t { kIdle, kWaiting, kOffered, kAccepted, kRefused };

  SessionNegotiator(const Credentials& credentials, natt::uv::SiteSignaling& signaling,
                    natt::uv::EndpointDriver& driver, Random& random, LogSink log, Identity gateway,
                    RelayTransport transport);
  SessionNegotiator(const SessionNegotiator&) = delete;
  SessionNegotiator& operator=(const SessionNegotiator&) = delete;

  // A new session: offers it now, or as soon as a broker is connected.
  void start(Instant now);
  // The session is over for both ends: tells the broker and closes checks and leg.
  void end(Instant now);

  void handle_broker_connected(Instant now, BrokerIndex broker);
  void handle_broker_lost(Instant now, BrokerIndex broker);
  // True when the message was for this session.
  [[nodiscard]] bool handle_answer(Instant now, const AnswerMessage& message);
  [[nodiscard]] bool handle_rejection(Instant now, BrokerIndex broker, const OfferRejection& rejection);
  [[nodiscard]] bool handle_candidates(Instant now, const CandidateBatch& batch);
  [[nodiscard]] bool handle_relay_grant(Instant now, const RelayGrantMessage& message);
  // Over TCP only: whether the race can no longer hope for the relay.
  [[nodiscard]] bool handle_relay_refusal(Instant now, const RelayRefusal& refusal);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;
  // Over TCP: whether a join would be granted now; and the grant for it, once. No more are asked for after that.
  [[nodiscard]] bool has_relay_grant(Instant now) const { return ticket_.is_valid(now); }
  [[nodiscard]] std::optional<RelayGrantMessage> take_relay_grant(Instant now) { return ticket_.take(now); }
  // The race is over.
  void stop_asking() { ticket_.stop(); }
  void trickle(Instant now);
  void request_relay_renewal(Instant now, const SessionRelayRenewal& renewal);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const SessionId& session() const { return session_; }
  [[nodiscard]] std::optional<BrokerIndex> broker() const { return broker_; }
  // Of the answer: what the gateway knows about its UDP.
  [[nodiscard]] const std::optional<UdpReach>& peer_udp() const { return peer_udp_; }
  [[nodiscard]] const std::optional<RefusalReason>& refusal() const { return refusal_; }

 private:
  // Offers are limited to one a second per client; a refused or lost one is tried again after this.
  static constexpr Duration kRetry = std::chrono::milliseconds(1100);

  void offer(Instant now);
  void accept(Instant now, const SessionAnswer& answer, std::vector<IpAddress> vouched);
  void request_relay(Instant now);

  const Credentials& credentials_;
  natt::uv::SiteSignaling& signaling_;
  natt::uv::EndpointDriver& driver_;
  Random& random_;
  LogSink log_;
  Identity gateway_;
  RelayTransport transport_;
  RelayTicket ticket_;
  State state_ = State::kIdle;
  SessionId session_;
  PunchCredential punch_;
  std::array<std::uint8_t, 32> digest_{};
  std::optional<BrokerIndex> broker_;
  std::optional<Instant> retry_at_;
  std::optional<UdpReach> peer_udp_;
  std::optional<RefusalReason> refusal_;
  std::size_t tries_ = 0;
};

}  // namespace natt::tunnel::uv
