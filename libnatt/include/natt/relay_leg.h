// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of a relayed session (docs/WIRE.md section 6): binds this end's address
// at the broker, keeps it bound, and says when the grant has to be renewed. Sans-I/O;
// tunnel packets do not pass through it: put header() in front of each outgoing
// one, and unwrap() each incoming one.
//
//              start            challenge               bound
//   idle ──────────► binding ───────────► echoing ───────────► bound ─┐ keepalive
//                      ▲  ▲ retry 0.5 s, 1 s, 2 s, 4 s …  │           │ and bound
//                      │  └────────────────────────────────┘          │◄┘
//                      └───── unanswered keepalives, rebind() ────────┘
//   any ── close(), closed by the broker, grant expired ──► closed
//
// Resource type, not thread-safe.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/log.h>
#include <natt/relay_grant.h>
#include <natt/relay_wire.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

class RelayLeg {
 public:
  struct Options {
    // Where the relay listens.
    SocketAddress relay;
    // Our own address to send from; unspecified lets the kernel choose.
    IpAddress local;
    // Below the shortest NAT mapping lifetime found (RFC 4787 REQ-5 asks for 2 minutes; 30 s and less occur).
    Duration keepalive = std::chrono::seconds(15);
    // Ask for a new grant this long before the old one ends.
    std::chrono::milliseconds renew_before = std::chrono::seconds(90);
    LogSink log;
  };

  // The broker knows this end's address; header() may be used. Again after each change of address or leg id.
  struct Bound {
    Duration rtt;
    // The other end is there too.
    bool peer_bound = false;
  };
  // The other end came or went (told by the answers to keepalives).
  struct PeerChanged {
    bool peer_bound = false;
  };
  // The relay does not answer; still trying.
  struct Lost {};
  // Fetch a new grant over signaling and call renew().
  struct RenewalNeeded {};
  // The end; nothing more happens.
  struct Closed {
    RelayCloseReason reason = RelayCloseReason::kExpired;
  };
  using Event = std::variant<Bound, PeerChanged, Lost, RenewalNeeded, Closed>;

  struct Stats {
    std::uint64_t binds_sent = 0;
    std::uint64_t keepalives_sent = 0;
    std::uint64_t rejected = 0;  // frames that failed a check
  };

  RelayLeg(const Options& options, RelayGrant grant);
  RelayLeg(const RelayLeg&) = delete;
  RelayLeg& operator=(const RelayLeg&) = delete;

  void start(Instant now, WallTime wall_now);
  // A new grant for the same session; one for another session is ignored.
  void renew(RelayGrant grant, Instant now, WallTime wall_now);
  // This end's address has changed, or the path went black: bind afresh now. The old address stays bound at the
  // relay until the new one has proved itself, so header() stays usable.
  void rebind(Instant now, WallTime wall_now);
  void rebind_from(IpAddress local, Instant now, WallTime wall_now);
  // Ends the session for both ends.
  void close(WallTime wall_now);

  // Relay control frames from anywhere; anything else is counted and ignored.
  void handle_datagram(Instant now, WallTime wall_now, const SocketAddress& from, ByteView datagram);
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Transmit> poll_transmit();
  [[nodiscard]] std::optional<Event> poll_event();

  [[nodiscard]] bool bound() const { return leg_.has_value() && state_ != State::kClosed; }
  [[nodiscard]] bool closed() const { return state_ == State::kClosed; }
  // What goes in front of every tunnel packet to relay(). Meaningful when bound(); changes only with a Bound event.
  [[nodiscard]] const std::array<std::uint8_t, kRelayHeaderSize>& header() const { return header_; }
  [[nodiscard]] const SocketAddress& relay() const { return options_.relay; }
  [[nodiscard]] const IpAddress& local() const { return options_.local; }
  [[nodiscard]] const RelaySessionId& session() const { return grant_.session; }
  // The tunnel packet in a datagram, when it is a data frame of this leg from its relay.
  [[nodiscard]] std::optional<ByteView> unwrap(const SocketAddress& from, ByteView datagram) const;
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  enum class State : std::uint8_t { kIdle, kBinding, kEchoing, kBound, kClosed };
  void transition_to(State next);
  void send_bind(Instant now, WallTime wall_now);
  void repeat_bind(Instant now);
  void send_keepalive(Instant now, WallTime wall_now);
  void send(const RelayControl& control);
  void handle_challenge(Instant now, const RelayControl& control);
  void handle_bound(Instant now, const RelayControl& control);
  void handle_closed(const RelayControl& control);
  void handle_retry(Instant now, WallTime wall_now);
  void end(RelayCloseReason reason);
  void report_peer(bool peer_bound);
  std::uint64_t next_counter(WallTime wall_now);
  void schedule_grant(Instant now, WallTime wall_now);

  Options options_;
  RelayGrant grant_;
  State state_ = State::kIdle;
  std::optional<RelayLegId> leg_;
  std::array<std::uint8_t, kRelayHeaderSize> header_{};
  // Strictly increasing over the life of the session, over restarts too: derived from the time.
  std::uint64_t counter_ = 0;
  std::uint64_t answered_counter_ = 0;
  std::uint64_t bind_counter_ = 0;
  // The relay has seen the current grant.
  bool grant_delivered_ = false;
  Instant sent_at_{};
  unsigned unanswered_ = 0;
  bool lost_ = false;
  bool peer_bound_ = false;
  std::optional<Instant> retry_at_;
  std::optional<Instant> renew_at_;
  std::optional<Instant> expires_at_;
  Transmit last_bind_;
  std::deque<Transmit> transmits_;
  std::deque<Event> events_;
  Stats stats_;
};

}  // namespace natt
