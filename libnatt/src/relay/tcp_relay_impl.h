// SPDX-License-Identifier: Apache-2.0
#pragma once

// What TcpRelay is made of. tcp_relay.cc has the public calls and what joins do,
// tcp_relay_sessions.cc how sessions begin and end.

#include <natt/tcp_relay.h>

#include <array>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include <natt/deadline_index.h>
#include <natt/device_rate.h>

#include "src/relay/relay_accounts.h"
#include "src/relay/token_table.h"

namespace natt {

struct TcpRelay::Impl {
  struct HeldToken {
    TcpRelayToken token{};
    Instant until{};
  };
  // One end of a session, as far as it is not paired.
  struct Side {
    std::vector<HeldToken> tokens;   // that may still be used, at most kMaxTokens; the oldest first
    std::vector<TcpLegId> attempts;  // not confirmed; the oldest first
    std::optional<TcpLegId> joined;
  };
  struct Pair {
    TcpPairId id{};
    std::array<SocketAddress, 2> addresses;
    std::array<std::uint64_t, 2> octets{};
    Instant since{};
  };
  // Exists while it has tokens that live, or a pair.
  struct Session {
    RelaySessionId id{};
    Identity client;
    Identity gateway;
    RelayAccounts::Seat seat;
    std::array<Side, 2> sides;
    Instant issued{};                 // when the newest tokens were
    std::optional<Instant> deadline;  // of the newest tokens, and of what has joined
    std::optional<Pair> pair;

    [[nodiscard]] Side& side(RelaySide which) { return sides[static_cast<std::size_t>(which)]; }
    [[nodiscard]] const Identity& end(RelaySide which) const { return which == RelaySide::kClient ? client : gateway; }
  };
  // A connection that is not paired.
  struct Leg {
    std::uint64_t session = 0;
    RelaySide side = RelaySide::kClient;
    TcpRelayToken token{};
    SocketAddress remote;
    std::size_t confirmed = 0;  // octets of the confirmation that have come
    ByteBuffer early;
  };
  using Key = std::pair<std::string, RelaySessionId>;

  Impl(TcpRelayOptions given, RelayAccounts& shared, Random& random)
      : options(given), accounts(shared), tokens(random), requests(given.requests, kMaxRequesters) {}

  [[nodiscard]] Result<std::uint64_t> session_for(const Identity& client, const Identity& gateway,
                                                  const RelaySessionId& id);
  void renew(Instant now, std::uint64_t number, Session& session, RelaySide side);
  // Sets the timer to what of the session ends next.
  void arm(std::uint64_t number, const Session& session);
  // Whether it is time for new tokens; a yes counts as the requester's.
  [[nodiscard]] bool may_issue(Instant now, const Session* session, const Identity& requester);
  [[nodiscard]] static std::optional<TcpRelayTicket> newest(Instant now, const Side& side);
  [[nodiscard]] Session* find_session(const Identity& client, const Identity& gateway, const RelaySessionId& id);
  // Whose leg the token is of, when this identity may show it.
  [[nodiscard]] std::optional<relay::TokenTable::Place> accept_token(const Identity& identity,
                                                                     const TcpRelayToken& token);
  void refuse_token(const TcpRelayToken& token);
  // Takes octets of the confirmation off the front; false when the leg was dropped.
  [[nodiscard]] bool read_confirmation(TcpLegId id, Leg& leg, ByteView& bytes);
  void handle_confirmed(Instant now, TcpLegId id, Leg& leg);
  void pair(Instant now, std::uint64_t number, Session& session);
  [[nodiscard]] ByteBuffer take_leg(Session& session, RelaySide side);

  void drop_leg(TcpLegId id);
  // The oldest token, and the connections that have shown it without a confirmation.
  void end_oldest(Instant now, Side& side, relay::TokenFate fate);
  // All of a side.
  void end_tokens(Instant now, Side& side, relay::TokenFate fate);
  void drop_joined(Side& side);
  // Ends what waits of a session.
  void end_waiting(Instant now, Session& session, relay::TokenFate fate);
  void handle_due(Instant now, std::uint64_t number);
  void end_pair(Session& session, RelayCloseReason reason);
  void end_session(Instant now, std::uint64_t number, relay::TokenFate fate, RelayCloseReason reason);
  void forget(std::uint64_t number);
  [[nodiscard]] Session* find_pair(TcpPairId pair);

  TcpRelayOptions options;
  RelayAccounts& accounts;
  relay::TokenTable tokens;
  DeviceRate requests;
  std::unordered_map<std::uint64_t, Session> sessions;
  std::map<Key, std::uint64_t> by_id;
  std::unordered_map<TcpPairId, std::uint64_t> pairs;
  std::unordered_map<TcpLegId, Leg> legs;
  DeadlineIndex<std::uint64_t> deadlines;
  std::deque<TcpRelayEvent> events;
  std::uint64_t next_session = 1;
  std::uint64_t next_pair = 1;
  TcpRelayStats stats;
};

}  // namespace natt
