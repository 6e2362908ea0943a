// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's side of the UDP relay (docs/WIRE.md section 6). Sans-I/O.
//
// A data frame is forwarded by overwriting its leg id with the other leg's and
// sending it there: no cryptography, no allocation, two cache lines per direction,
// whole GRO trains at once. Only the source that a leg is bound to may send on it.
// Strangers get no answer and leave no state: a session starts to exist when a bind
// carries a grant that this broker sealed.
//
//   MutableBytes rest = train.bytes;
//   while (!rest.empty()) {
//     if (const auto out = server.handle_train(now, wall_now, train.from, train.local, rest, train.segment_size)) {
//       socket.send({.to = out->to, .from = out->from, .bytes = out->bytes, .segment_size = train.segment_size});
//     }
//   }
//   while (auto reply = server.poll_transmit()) socket.send(*reply);
//
// Resource type, not thread-safe.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/relay_grant.h>
#include <natt/relay_wire.h>
#include <natt/signal_types.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

// Everywhere, 0 is "no limit".
struct RelayQuota {
  std::uint64_t sessions = 0;
  std::uint64_t bits_per_second = 0;
};

struct RelayServerOptions {
  RelayQuota per_client;
  RelayQuota per_site;
  RelayQuota broker;
  // Only warn: natt/relaySessionsThreshold, natt/relayThroughputBitsPerSecondThreshold. 0 is off.
  std::uint64_t sessions_threshold = 0;
  std::uint64_t throughput_threshold = 0;
  // A bucket holds this much of its rate, but at least kMinimumBurst octets: a GRO train is 64 KiB.
  Duration burst = std::chrono::milliseconds(200);
  // A bind's time may differ from ours by this much.
  std::chrono::milliseconds clock_tolerance = std::chrono::minutes(2);
  LogSink log;
};

struct RelayForward {
  SocketAddress to;
  // The local address the other end talks to.
  IpAddress from;
  // The segments to send, already rewritten; part of the train given.
  MutableBytes bytes;
};

struct RelayStats {
  std::uint64_t packets_forwarded = 0;
  std::uint64_t bytes_forwarded = 0;  // tunnel bytes, without relay header
  std::uint64_t sessions_opened = 0;
  std::uint64_t sessions_closed = 0;
  std::uint64_t binds = 0;       // accepted, renewals and keepalives not counted
  std::uint64_t takeovers = 0;   // a leg's source changed after its echo
  std::uint64_t challenges = 0;

  // Dropped datagrams, by reason.
  std::uint64_t malformed = 0;
  std::uint64_t unknown_leg = 0;
  std::uint64_t wrong_source = 0;     // right leg id, but not from the address it is bound to
  std::uint64_t peer_unbound = 0;     // the other end has not bound yet
  std::uint64_t over_rate = 0;        // a bits/s quota
  std::uint64_t bad_grant = 0;        // not sealed by us
  std::uint64_t grant_expired = 0;
  std::uint64_t revoked = 0;
  std::uint64_t bad_mac = 0;
  std::uint64_t replayed = 0;         // counter not above the last one
  std::uint64_t wrong_time = 0;
  std::uint64_t bad_cookie = 0;
  std::uint64_t over_quota = 0;       // a session quota
  std::uint64_t identity_mismatch = 0;
  std::uint64_t challenge_limited = 0;
  std::uint64_t replies_dropped = 0;  // poll_transmit was not called often enough
};

// What health looks at.
struct RelayLoad {
  std::uint64_t sessions = 0;
  // Average over the last minute.
  std::uint64_t bits_per_second = 0;
  bool above_sessions_threshold = false;
  bool above_throughput_threshold = false;
};

// One session, for status output.
struct RelaySessionReport {
  RelaySessionId session{};
  Identity client;
  Identity gateway;
  std::optional<SocketAddress> client_address;  // absent: not bound
  std::optional<SocketAddress> gateway_address;
  std::uint64_t bytes_from_client = 0;
  std::uint64_t bytes_from_gateway = 0;
  std::uint64_t packets_from_client = 0;
  std::uint64_t packets_from_gateway = 0;
  Instant since{};
  RelayTransport transport = RelayTransport::kUdp;
};

// Who uses how much of the relay, over UDP and TCP together.
class RelayAccounts;

class RelayServer {
 public:
  // Replies waiting for poll_transmit; beyond, the newest is dropped (the leg asks again).
  static constexpr std::size_t kReplyQueueLimit = 256;
  static constexpr std::uint64_t kMinimumBurst = 256 * 1024;

  // `random` outlives the server. `broker_key` is the persisted one.
  RelayServer(const RelayServerOptions& options, const RelayKey& broker_key, Random& random);
  ~RelayServer();
  RelayServer(const RelayServer&) = delete;
  RelayServer& operator=(const RelayServer&) = delete;

  // Takes at least one segment off the front of `train` (which shrinks); the segments that share a leg id with the
  // first are dealt with together. A result is to be sent, absence means that what was taken needs nothing more:
  // dropped, or a control frame (see poll_transmit). `segment_size` 0 means one datagram.
  [[nodiscard]] std::optional<RelayForward> handle_train(Instant now, WallTime wall_now, const SocketAddress& from,
                                                         const IpAddress& local, MutableBytes& train,
                                                         std::size_t segment_size);
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Transmit> poll_transmit();

  // For the signaling side; see GrantSealer::issue. kRevoked when such a grant would be refused because of revoke().
  [[nodiscard]] Result<RelayGrantPair> issue(const Identity& client, const Identity& gateway,
                                             std::optional<RelaySessionId> session, WallTime wall_now);

  // Who may be at a leg's end, as a grant of this broker says; absent when it is not one. Says nothing about the time.
  [[nodiscard]] std::optional<RelayGrantClaims> open_grant(ByteView sealed) const;

  // Ends the identity's sessions at once, and refuses grants issued up to now. After a restart, call it again for
  // everyone the roster has revoked. Returns how many sessions ended.
  std::size_t revoke(const Identity& identity, WallTime wall_now);
  // Ends one session, whose grants of up to now no longer count; false when there is none.
  bool end_session(const RelaySessionId& session);
  // Tells all legs that the relay goes away and ends their sessions.
  void shutdown();

  // Takes effect at once, for existing sessions too (rates; session quotas end none).
  void set_quotas(const RelayQuota& per_client, const RelayQuota& per_site, const RelayQuota& broker);
  void set_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second);

  [[nodiscard]] const RelayStats& stats() const;
  // What shares this relay's quotas and thresholds (natt/tcp_relay.h) is counted in it.
  [[nodiscard]] RelayLoad load() const;
  // Lives as long as the server, and nothing that uses it outlives it.
  [[nodiscard]] RelayAccounts& accounts();
  [[nodiscard]] std::vector<RelaySessionReport> sessions() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
