// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sessions that signaling sets up at a gateway: verifies offers, answers them, keeps
// checks and relay leg running while a tunnel uses them, and lets go of what no tunnel
// came for. Resource type; everything borrowed outlives it.

#include <memory>
#include <unordered_map>

#include <natt/session_offer.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/site_signaling.h>

#include "src/uv/gateway/relay_legs.h"

namespace natt::tunnel::uv {

class GatewaySessions {
 public:
  // From the offer to the tunnel's handshake; a client's race gives up after 20 s.
  static constexpr Duration kUnusedLifetime = std::chrono::seconds(45);
  // Candidates are trickled for as long as the client may still be punching.
  static constexpr Duration kTrickleFor = std::chrono::seconds(30);
  static constexpr std::size_t kMaxSessions = 16'384;

  GatewaySessions(const Credentials& credentials, const GatewayPolicy& policy, natt::uv::EndpointDriver& driver,
                  Random& random, LogSink log);
  GatewaySessions(const GatewaySessions&) = delete;
  GatewaySessions& operator=(const GatewaySessions&) = delete;

  // Once signaling exists; it outlives this.
  void set_signaling(natt::uv::SiteSignaling& signaling) { signaling_ = &signaling; }
  // In a TLS site, the same. Without, relaying over TCP is not taken up.
  void set_relay_legs(RelayLegs& legs) { legs_ = &legs; }

  void handle_offer(Instant now, BrokerIndex broker, const ForwardedOffer& offer);
  void handle_candidates(Instant now, const CandidateBatch& batch);
  void handle_relay_grant(Instant now, const RelayGrantMessage& message);
  void handle_session_end(Instant now, const SessionEnd& end);
  // The endpoint found further candidates of ours.
  void trickle(Instant now);
  void request_relay_renewal(Instant now, const SessionRelayRenewal& renewal);

  // A tunnel runs over the session's path, or no longer. `leg_is_gone`: it was relayed over TCP, and a leg is good for one
  // connection, so the session ends with its last tunnel.
  void note_tunnel(const SessionId& session);
  void release_tunnel(Instant now, const SessionId& session, bool leg_is_gone);
  // For both ends: its checks and relay leg stop, the broker tells the client.
  void end(Instant now, const SessionId& id, SessionEndReason reason);
  // Revocation.
  void end_client(Instant now, const Identity& client);
  // Ends sessions that nobody came for.
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::size_t size() const { return sessions_.size(); }
  [[nodiscard]] bool contains(const SessionId& session) const { return sessions_.contains(session); }
  // What clients of all sessions make their checks under.
  [[nodiscard]] const StunTransactionKey& transaction_key() const { return transaction_key_; }

 private:
  struct Session {
    BrokerIndex broker;
    Identity client;
    Instant opened{};
    std::uint32_t tunnels = 0;
    bool ended_by_client = false;
  };

  [[nodiscard]] std::optional<RefusalReason> admit(Instant now, BrokerIndex broker, const VerifiedOffer& offer,
                                                   std::vector<IpAddress> vouched, SessionAnswer& answer);
  void join_relay(Instant now, const Session& session, const RelayGrantMessage& message);
  void answer_offer(Instant now, BrokerIndex broker, const VerifiedOffer& offer, const SessionAnswer& answer);

  const Credentials& credentials_;
  const GatewayPolicy& policy_;
  natt::uv::EndpointDriver& driver_;
  Random& random_;
  LogSink log_;
  natt::uv::SiteSignaling* signaling_ = nullptr;
  RelayLegs* legs_ = nullptr;
  OfferVerifier verifier_;
  StunTransactionKey transaction_key_;
  std::unordered_map<SessionId, Session> sessions_;
};

}  // namespace natt::tunnel::uv
