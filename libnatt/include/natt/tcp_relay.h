// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's side of relaying over TCP (docs/WIRE.md 6.5): which two connections belong
// together. A session gets two pairing tokens, one for each end; an end shows its token in a
// relay join (1.5), confirms on the connection that it goes on with, and waits for the other.
// Then the two are spliced, which is the driver's work, and what runs inside is end to end.
//
//        issue()              handle_join()              handle_bytes()            the other end's, too
//   ── token, 10 s ──► attempts, several of one race ──► joined, waits ──────────► paired: spliced
//
// An end races several connections, all with the same token and frames of their own. None of
// them uses the token up until its end confirms it, which it does on one only: so whichever of
// them arrive, and in which order, the one that the end holds is the leg.
//
// Sans-I/O. Resource type, one thread; accounts and random outlive it.
//
//   join:     if (!relay.handle_join(...)) close it;
//   on bytes: if (!relay.handle_bytes(...)) stop reading, until it is paired;
//   always:   while (auto event = relay.poll_event()) ...; re-arm(relay.next_deadline());

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/device_rate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/relay_server.h>
#include <natt/time.h>

namespace natt {

// As signaling hands it out and a relay join carries it (natt/spa/tls_hello_carrier.h).
using TcpRelayToken = std::array<std::uint8_t, 16>;

// What an end sends behind its join on the connection it goes on with; the leg's own bytes follow.
inline constexpr std::array<std::uint8_t, 6> kRelayJoinConfirmation{0x17, 0x03, 0x03, 0x00, 0x01, 0x01};

// "Single-use token bound to its identity (10 s, <= 16 KB before pairing)" (DESIGN section 8).
inline constexpr std::chrono::seconds kTcpRelayTokenLifetime{10};

// A connection of the driver, which never uses a number twice.
enum class TcpLegId : std::uint64_t {};
// Two legs that were paired.
enum class TcpPairId : std::uint64_t {};

struct TcpRelayTokens {
  TcpRelayToken client{};
  TcpRelayToken gateway{};
};

// A token, and how long it is good from now on.
struct TcpRelayTicket {
  TcpRelayToken token{};
  Duration left{};
};

// Who is to be told of tokens. Absent: that end is told nothing.
struct TcpRelayAnswer {
  std::optional<TcpRelayTicket> client;
  std::optional<TcpRelayTicket> gateway;
};

struct TcpRelayOptions {
  // Connections that are not paired. A further one is dropped.
  std::size_t max_unpaired = 16'384;
  // A request that comes sooner after the newest tokens of its session makes no further ones. Each makes the gateway
  // join, at 4 to 7 nonces of its SPA key at the broker (12'288 in 64 s); honest ends ask every 3 s at most.
  Duration issue_interval = std::chrono::seconds(1);
  // Of one device, over all its sessions. An offer is taken every 0.9 s, and a race of 20 s asks three times: 3.3 a
  // second are the most that an honest client has to ask.
  DeviceRate::Limit requests{.interval = std::chrono::milliseconds(250), .burst = 32};
  LogSink log;
};

// Splice them; what each has sent already goes first.
struct TcpRelayPaired {
  TcpPairId pair{};
  TcpLegId client{};
  TcpLegId gateway{};
  ByteBuffer early_from_client;
  ByteBuffer early_from_gateway;
};
// Not paired, and not wanted any more: close it without a word.
struct TcpRelayLegDropped {
  TcpLegId leg{};
};
// Reset both connections. No handle_pair_ended() for it.
struct TcpRelayPairEnded {
  TcpPairId pair{};
};
using TcpRelayEvent = std::variant<TcpRelayPaired, TcpRelayLegDropped, TcpRelayPairEnded>;

struct TcpRelayStats {
  std::uint64_t tokens_issued = 0;
  std::uint64_t pairs_opened = 0;
  std::uint64_t pairs_closed = 0;
  std::uint64_t bytes_forwarded = 0;
  std::uint64_t legs_joined = 0;  // confirmed
  std::uint64_t rate_limited = 0;  // requests that made no tokens
  std::uint64_t over_rate = 0;    // times a leg was paused for a bits/s quota

  // Connections dropped, by reason.
  std::uint64_t unknown_token = 0;
  std::uint64_t used_token = 0;      // the leg of its side has joined since it was given out
  std::uint64_t expired_token = 0;
  std::uint64_t revoked_token = 0;  // the device was revoked or the session ended
  std::uint64_t replaced_token = 0;  // two newer ones were given out for its side, or its session was paired
  std::uint64_t wrong_identity = 0;
  std::uint64_t crowded = 0;         // too many connections that are not paired, or too much said on one
  std::uint64_t unconfirmed = 0;     // the losers of a race, and what said something else than the confirmation
  std::uint64_t left_alone = 0;      // joined, and the other end did not
  std::uint64_t left_early = 0;      // gone before they were paired
};

class TcpRelay {
 public:
  // Read of a leg before it is paired; then it is not read.
  static constexpr std::size_t kMaxEarlyBytes = 16 * 1024;
  // Of one side: the newest, and the one before until its own end, which its end may be joining with.
  static constexpr std::size_t kMaxTokens = 2;
  // Devices whose requests are counted at a time.
  static constexpr std::size_t kMaxRequesters = 16'384;
  // Connections of one race at a time (natt/connect_schedule.h opens twelve); a further one drops the oldest.
  static constexpr std::size_t kMaxAttempts = 12;
  // How long tokens that are over are told apart in the counters, and how many of them.
  static constexpr Duration kRememberTokens = std::chrono::seconds(60);
  static constexpr std::size_t kMaxRemembered = 8192;

  TcpRelay(TcpRelayOptions options, RelayAccounts& accounts, Random& random);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  // Tokens for both legs of a session between a client and a gateway of one site. A session that has some and is not
  // paired gets new ones beside them: both stand for the same place, and the leg that joins uses them up. Of three the
  // oldest ends. A leg that has joined goes on waiting until its end joins again. Of a session that is paired the pair
  // stays until the new legs are paired. kLimit: a quota of sessions. kWrongIdentity: the session is of somebody else.
  [[nodiscard]] Result<TcpRelayTokens> issue(Instant now, const Identity& client, const Identity& gateway,
                                             const RelaySessionId& session);
  // What an end asks for, within its rate: tokens as of issue(), or while it is too early for them those that it has,
  // of which the other end hears nothing. kUnavailable: too early, and it has none.
  [[nodiscard]] Result<TcpRelayAnswer> handle_request(Instant now, const Identity& client, const Identity& gateway,
                                                      const RelaySessionId& session, RelaySide requester);
  // A connection whose relay join was verified as `identity`'s. False: close it, nothing is kept of it.
  [[nodiscard]] bool handle_join(Instant now, TcpLegId leg, const Identity& identity, const SocketAddress& remote,
                                 const TcpRelayToken& token);
  // What came behind the join, until the leg is paired or dropped. False: do not read more until it is. At most
  // kMaxEarlyBytes and a confirmation are kept; what is beyond drops the leg.
  [[nodiscard]] bool handle_bytes(Instant now, TcpLegId leg, ByteView bytes);
  // How many octets of a leg handle_bytes() still takes; 0 for one that is not known.
  [[nodiscard]] std::size_t room_of(TcpLegId leg) const;
  // Closed by its peer, half of it included, before it was paired. No event follows.
  void handle_disconnected(Instant now, TcpLegId leg);

  // What the splice did.
  void handle_forwarded(TcpPairId pair, RelaySide from, std::uint64_t octets);
  void handle_pair_ended(Instant now, TcpPairId pair);
  // How many octets, at most `wanted`, the pair may move now. 0: not before kPause. What is not moved is given back.
  [[nodiscard]] std::size_t take_allowance(Instant now, TcpPairId pair, std::size_t wanted);
  void give_back(TcpPairId pair, std::size_t octets);
  static constexpr Duration kPause = std::chrono::milliseconds(10);

  // Revocation: ends what the identity has here, at once. Returns how many pairs ended.
  std::size_t revoke(Instant now, const Identity& identity);
  // The session has ended in signaling; false when there is none.
  bool end_session(Instant now, const std::string& site, const RelaySessionId& session);

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<TcpRelayEvent> poll_event();

  [[nodiscard]] const TcpRelayStats& stats() const;
  // Those that are paired.
  [[nodiscard]] std::vector<RelaySessionReport> sessions() const;
  [[nodiscard]] std::size_t unpaired() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
