// SPDX-License-Identifier: Apache-2.0
#pragma once

// Everything a client or gateway does on its one UDP socket besides the tunnel itself:
// STUN with every broker, connectivity checks, relay legs, and the table that says which
// real path stands behind a PathId. The mapping that STUN sees is the mapping the tunnel
// uses because it is the same socket.
//
// Sans-I/O. Resource type, one thread; `random` outlives it.
//
//   on datagram: if (auto packet = endpoint.handle_datagram(now, wall_now, from, local, bytes)) -> the tunnel
//   on timer:    endpoint.handle_timeout(now, wall_now);
//   then always: while (auto t = endpoint.poll_transmit()) socket.send(*t);
//                while (auto e = endpoint.poll_event()) ...; arm(endpoint.next_deadline());

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include <natt/candidate.h>
#include <natt/deadline_index.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/nat_behavior.h>
#include <natt/path_table.h>
#include <natt/punch_agent.h>
#include <natt/race.h>
#include <natt/random.h>
#include <natt/relay_leg.h>
#include <natt/signal_types.h>
#include <natt/stun_client.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

// The owner's number of a broker; small and dense.
struct BrokerIndex {
  std::uint32_t value = 0;
  friend auto operator<=>(const BrokerIndex&, const BrokerIndex&) = default;
};

// What local_candidates() returns has changed: tell the peers of running sessions.
struct LocalCandidatesChanged {};
// A broker answered, answered differently, or stopped answering (`error`).
struct StunReport {
  BrokerIndex broker;
  std::optional<SocketAddress> mapped;
  std::optional<Error> error;
};
// A path of the session can carry a tunnel handshake.
struct SessionPathReady {
  SessionId session;
  ConnectionType type = ConnectionType::kNatTraversal;
  PathId path;
};
// The path is no longer usable (consent expired, or its relay leg ended).
struct SessionPathLost {
  SessionId session;
  PathId path;
};
// Packets went out on a path in use and nothing came back for about a second.
struct SessionPathSilent {
  SessionId session;
  PathId path;
};
// The first round of checks ended without any path.
struct SessionPunchFailed {
  SessionId session;
};
// Hand `sealed` to the broker (RelayRenewal) and the answer to renew_relay().
struct SessionRelayRenewal {
  SessionId session;
  ByteBuffer sealed;
};

using EndpointEvent = std::variant<LocalCandidatesChanged, StunReport, SessionPathReady, SessionPathLost,
                                   SessionPathSilent, SessionPunchFailed, SessionRelayRenewal>;

// A tunnel packet that came in, and from where.
struct TunnelPacket {
  Route route;
  // Points into the datagram given to handle_datagram().
  ByteView bytes;
};

// Where packets of a path go.
struct TunnelRoute {
  SocketAddress to;
  IpAddress from;
  // Goes in front of every packet; empty on direct paths. Valid until the endpoint's next non-const call.
  ByteView header;
};

struct EndpointOptions {
  PunchRole role = PunchRole::kControlling;
  // natt/stunKeepaliveInterval.
  Duration stun_keepalive = std::chrono::seconds(15);
  PunchOptions punch;
  PathTable::Options paths;
  LogSink log;
};

class Endpoint {
 public:
  // Events not yet polled; beyond it the oldest is forgotten, which the session's own timers make good.
  static constexpr std::size_t kMaxEvents = 4096;
  static constexpr std::size_t kMaxStunServersPerBroker = 2;

  Endpoint(EndpointOptions options, Random& random);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // Addresses of all interfaces, and the port the socket is bound to: the host candidates.
  void set_own_addresses(Instant now, std::vector<IpAddress> addresses, std::uint16_t port);
  // Public addresses the operator configured for this device (port mapped by hand).
  void set_configured_addresses(std::vector<SocketAddress> addresses);

  // STUN with one broker. `servers` has the primary first; a second one tells the NAT's mapping behaviour; further ones
  // are ignored. Called again with every new credential: the list replaces the one before. The caller has made sure
  // that they are the broker's addresses.
  [[nodiscard]] Result<void> set_stun(Instant now, WallTime wall_now, BrokerIndex broker,
                                      const StunCredential& credential, const std::vector<SocketAddress>& servers);
  // No further STUN with the broker, and no candidates from it.
  void remove_stun(BrokerIndex broker);
  void set_stun_keepalive(Instant now, Duration interval);
  // Where brokers are: never probed, whatever a candidate says.
  void set_broker_addresses(std::vector<IpAddress> addresses);

  // Candidates for an offer or answer, after the rules of CandidatePolicy.
  [[nodiscard]] std::vector<Candidate> local_candidates() const;
  // What is known about this end's UDP, for the peer's race.
  [[nodiscard]] UdpReach udp_reach() const;
  // Public addresses as brokers see this socket, one entry a broker that answered.
  [[nodiscard]] std::vector<std::pair<BrokerIndex, SocketAddress>> mapped_addresses() const;

  // Hole punching for one session; candidates may be added from then on.
  [[nodiscard]] Result<void> open_session(Instant now, const SessionId& session, PunchCredential local,
                                          PunchCredential remote, const StunTransactionKey& transaction_key,
                                          Instant start, PeerVouch vouch);
  [[nodiscard]] bool has_session(const SessionId& session) const { return sessions_.contains(session); }
  // `vouch` is the broker's latest word on the peer; it replaces the one before.
  void add_remote_candidates(Instant now, const SessionId& session, const std::vector<Candidate>& candidates,
                             PeerVouch vouch);
  // The relay leg of a session, opened or not; binds at once.
  void add_relay(Instant now, WallTime wall_now, const SessionId& session, const SocketAddress& relay,
                 RelayGrant grant);
  // Ends checks and leg, and forgets the session's paths. Nothing is sent but the relay's close frame; SessionPathLost
  // follows for a relayed path.
  void close_session(WallTime wall_now, const SessionId& session);

  // A path to an address known from configuration or signaling's directory. Nothing when the path table is full.
  [[nodiscard]] std::optional<PathId> direct_path(const SocketAddress& remote);
  // The path a received packet belongs to.
  [[nodiscard]] std::optional<PathId> path_of(const Route& route) { return paths_.find(route); }
  // The same for a packet that proved itself: a path never seen before begins to exist.
  [[nodiscard]] std::optional<PathId> create_path(const Route& route) { return paths_.find_or_create(route); }
  [[nodiscard]] std::optional<TunnelRoute> route(PathId path) const;
  // The real remote address, or the relay's; for status output.
  [[nodiscard]] std::optional<SocketAddress> remote_address(PathId path) const;
  // How the path runs; a path that no session found is Direct.
  [[nodiscard]] ConnectionType type_of(PathId path) const;
  [[nodiscard]] std::optional<SessionId> session_of(PathId path) const;

  // A tunnel connection uses the path: it keeps its PathId and is watched.
  void use_path(Instant now, PathId path);
  void release_path(Instant now, PathId path);
  // Once per batch of tunnel packets.
  void note_sent(Instant now, PathId path);
  void note_received(Instant now, PathId path);

  // Consumes STUN and relay control; returns what is the tunnel's. Knocks are not looked at here.
  [[nodiscard]] std::optional<TunnelPacket> handle_datagram(Instant now, WallTime wall_now, const SocketAddress& from,
                                                            const IpAddress& local, ByteView bytes);
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Transmit> poll_transmit();
  [[nodiscard]] std::optional<EndpointEvent> poll_event();

  [[nodiscard]] const PunchAgent::Stats& punch_stats() const { return punch_.stats(); }
  [[nodiscard]] std::size_t session_count() const { return sessions_.size(); }

 private:
  struct StunServerLink {
    BrokerIndex broker;
    bool primary = false;
    std::unique_ptr<StunClient> client;
  };
  struct Session {
    PunchSessionId punch;
    bool punching = false;  // `punch` is a session of punch_
    std::unique_ptr<RelayLeg> leg;
    ByteBuffer sealed_grant;  // to show at the broker for a renewal
    RelayLegHandle leg_handle;
    std::optional<RelayLegId> leg_id;  // as registered in legs_by_id_
    bool relay_announced = false;
  };
  struct PathUse {
    SessionId session;
    std::optional<PunchPath> punch;  // absent on a relay leg
    std::uint32_t users = 0;         // tunnels that run over it
  };
  struct LegIdHash {
    std::size_t operator()(const RelayLegId& id) const noexcept { return static_cast<std::size_t>(id.tag); }
  };

  [[nodiscard]] Session& session_entry(const SessionId& session);
  [[nodiscard]] bool handle_stun(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes);
  [[nodiscard]] std::optional<TunnelPacket> handle_relay(Instant now, WallTime wall_now, const SocketAddress& from,
                                                         ByteView bytes);
  void handle_relay_control(Instant now, WallTime wall_now, const SocketAddress& from, ByteView bytes);
  void drain(Instant now);
  void drain_stun(StunServerLink& link);
  void on_stun_event(const StunServerLink& link, const StunClientEvent& event);
  void drain_punch(Instant now);
  void on_punch_event(Instant now, const PunchEvent& event);
  void drain_leg(const SessionId& id, Session& session);
  void on_path_validated(Instant now, const PathValidated& event);
  void on_path_lost(const PunchPath& path);
  void on_leg_event(const SessionId& id, Session& session, const RelayLeg::Event& event);
  void on_leg_bound(const SessionId& id, Session& session);
  void announce_relay(const SessionId& id, Session& session);
  void drop_leg(const SessionId& id, Session& session);
  void update_public_addresses();
  [[nodiscard]] std::optional<SessionId> find_session(PunchSessionId punch) const;
  [[nodiscard]] std::optional<PathId> find_path(const PunchPath& path);
  void forget_paths(const SessionId& session);
  void push(EndpointEvent event);

  EndpointOptions options_;
  Random& random_;
  PathTable paths_;
  PunchAgent punch_;
  NatMappingObserver observer_;
  std::vector<IpAddress> own_addresses_;
  std::uint16_t own_port_ = 0;
  std::vector<SocketAddress> configured_;
  std::vector<StunServerLink> stun_;
  std::unordered_map<SessionId, Session> sessions_;
  std::unordered_map<PunchSessionId, SessionId> by_punch_;
  std::unordered_map<std::uint64_t, SessionId> by_leg_handle_;
  std::unordered_map<RelayLegId, SessionId, LegIdHash> by_leg_id_;
  std::unordered_map<PathId, PathUse> path_uses_;
  DeadlineIndex<std::uint64_t> leg_deadlines_;
  std::uint64_t next_punch_ = 1;
  std::uint64_t next_leg_ = 1;
  std::deque<Transmit> transmits_;
  std::deque<EndpointEvent> events_;
};

}  // namespace natt
