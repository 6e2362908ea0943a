// SPDX-License-Identifier: Apache-2.0
#pragma once

// One gateway as a client sees it: races for a tunnel while somebody needs one, runs
// streams and the IP tunnel over the winner, and starts again when it is lost.
//
//   kIdle --need--> kRacing --won--> kUp --lost--.
//     ^                '-----lost race------> kBackoff
//     '------------------------time--------------'
//
// Resource type; everything borrowed outlives it.

#include <memory>
#include <unordered_map>

#include <natt/backoff.h>
#include <natt/uv/site_signaling.h>

#include "src/uv/client/client_ip.h"
#include "src/uv/client/client_streams.h"
#include "src/uv/client/connection_attempts.h"
#include "src/uv/client/link_site.h"
#include "src/uv/client/session_negotiator.h"
#include "src/uv/client/silence_watch.h"

namespace natt::tunnel::uv {

class GatewayLink {
 public:
  enum class State : std::uint8_t { kIdle, kRacing, kUp, kBackoff };

  [[nodiscard]] static Result<std::unique_ptr<GatewayLink>> make(const LinkSite& site, const Identity& gateway);
  ~GatewayLink();
  GatewayLink(const GatewayLink&) = delete;
  GatewayLink& operator=(const GatewayLink&) = delete;

  void keep_up() { wanted_ = true; }
  [[nodiscard]] ClientStreams& streams() { return streams_; }
  // Fed with this link's IP packets from now on; outlives the link.
  void set_ip(ClientIp* ip);

  void handle_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event);
  void handle_endpoint_event(Instant now, const EndpointEvent& event);
  // What the directory says: other addresses are tried directly, another boot id ends the tunnel.
  void handle_directory(Instant now, const GatewayEntry& entry);
  // False: not for this link.
  [[nodiscard]] bool handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;
  // Moves everything on: race, outcomes, tunnel events, waiting streams, packets. Not from inside a stream.
  void flush(Instant now);
  // Packets only; may be called from inside a stream.
  void pump(Instant now);
  void close(Instant now);
  // Its certificate was revoked: what comes next has to show another one.
  void drop_tunnel(Instant now, const std::string& reason);
  // Its roster entry has changed: attempts to come use the new SPA key and mask.
  void renew_key();
  // The gateway is no longer listed.
  void fail(Instant now, const std::string& reason);

  [[nodiscard]] const Identity& gateway() const { return gateway_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] SiteConnection describe() const;

 private:
  // A tunnel that lasted this long was a success.
  static constexpr Duration kLasted = std::chrono::seconds(5);

  GatewayLink(const LinkSite& site, Identity gateway, std::unique_ptr<spa::Knocker> knocker);
  [[nodiscard]] bool is_needed() const { return wanted_ || streams_.waiting() > 0 || ip_ != nullptr; }
  [[nodiscard]] std::vector<SocketAddress> direct_addresses() const;
  void start_race(Instant now);
  void start_race_if_listed(Instant now);
  void drain_race(Instant now);
  void handle_race_event(Instant now, const RaceCore::Event& event);
  void start_attempts(Instant now, ConnectionType step);
  [[nodiscard]] bool start_direct(Instant now);
  [[nodiscard]] bool start_relayed(Instant now);
  [[nodiscard]] bool start_on_path(Instant now, ConnectionType step, PathId path);
  [[nodiscard]] bool note_attempt(const Result<void>& started) const;
  void handle_outcome(Instant now, const ConnectionAttempts::Outcome& outcome);
  void on_won(Instant now, const RaceCore::Won& won);
  void on_lost(Instant now, const RaceCore::Lost& lost);
  void update_facts();
  // TLS sites: the relay step has a path as long as there is a grant.
  void update_relay_path(Instant now);
  void drain_tunnel(Instant now);
  void handle_tunnel_event(Instant now, const ClientEvent& event);
  void on_tunnel_lost(Instant now, const std::string& reason);
  void watch_silence(Instant now);
  void report(Instant now, std::optional<BrokerIndex> broker, bool ended);
  void transition_to(State next);

  LinkSite site_;
  Identity gateway_;
  std::unique_ptr<spa::Knocker> knocker_;
  SessionNegotiator negotiator_;
  ConnectionAttempts attempts_;
  ClientStreams streams_;
  Backoff backoff_;
  std::size_t races_lost_ = 0;  // since the last tunnel
  ClientIp* ip_ = nullptr;
  State state_ = State::kIdle;
  bool wanted_ = false;
  std::unique_ptr<RaceCore> race_;
  std::unordered_map<PathId, ConnectionType> ready_;  // paths of the session, for its steps
  std::unique_ptr<TunnelTransport> transport_;  // while kUp
  ClosingTransports retired_;                 // their streams may still be on the stack
  SilenceWatch silence_;
  ConnectionType type_ = ConnectionType::kDirect;
  std::optional<RelayReason> reason_;
  Instant since_{};
  std::optional<Instant> retry_at_;
  std::optional<std::uint64_t> boot_id_;
  std::vector<SocketAddress> directory_addresses_;
};

}  // namespace natt::tunnel::uv
