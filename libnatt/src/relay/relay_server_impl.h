// SPDX-License-Identifier: Apache-2.0
#pragma once

// The relay server's parts and how they meet. relay_server.cc has the public calls
// and the data path, relay_control.cc what control frames do.

#include <natt/relay_server.h>

#include <deque>
#include <optional>

#include "src/relay/forwarding_table.h"
#include "src/relay/relay_accounts.h"
#include "src/relay/revocation_list.h"
#include "src/relay/session_table.h"
#include "src/relay/source_cookie.h"

namespace natt {

struct RelayServer::Impl {
  Impl(const RelayServerOptions& given, const RelayKey& broker_key, Random& source);

  // Where a control frame came from, and when.
  struct Arrival {
    Instant now;
    WallTime wall_now;
    const SocketAddress& from;
    const IpAddress& local;
  };

  [[nodiscard]] std::optional<RelayForward> forward(Instant now, const SocketAddress& from, RelayLegId id,
                                                    MutableBytes segments, std::size_t segment_size,
                                                    std::size_t count);

  void handle_control(const Arrival& arrival, ByteView frame);
  void handle_bind(const Arrival& arrival, const RelayControl& control, ByteView frame);
  void handle_keepalive(const Arrival& arrival, const RelayControl& control, ByteView frame);
  void handle_echo(const Arrival& arrival, const RelayControl& control, ByteView frame);
  void handle_close(const Arrival& arrival, const RelayControl& control, ByteView frame);

  [[nodiscard]] std::optional<RelayGrantClaims> accept_grant(const Arrival& arrival, ByteView sealed);
  [[nodiscard]] std::optional<std::uint32_t> session_for(const RelayGrantClaims& claims, Instant now);
  [[nodiscard]] std::optional<std::uint32_t> open_session(const RelayGrantClaims& claims, Instant now);
  // The slot of the leg that an authentic, fresh frame speaks for.
  [[nodiscard]] std::optional<std::uint32_t> authenticate(const Arrival& arrival, const RelayControl& control,
                                                          ByteView frame);
  [[nodiscard]] bool timely(const Arrival& arrival, const RelayControl& control);
  [[nodiscard]] bool advance_counter(relay::SessionLeg& leg, std::uint64_t counter);
  void answer_leg(const Arrival& arrival, std::uint32_t slot);
  void bind_leg(const Arrival& arrival, std::uint32_t slot);
  void send_challenge(const Arrival& arrival, std::uint32_t slot);
  void send_bound(std::uint32_t slot);
  void send_closed(std::uint32_t slot, RelayCloseReason reason);
  void queue(const SocketAddress& to, const IpAddress& from, ByteBuffer bytes);
  void notify_and_end(std::uint32_t session, RelayCloseReason reason);
  void end_session(std::uint32_t session, RelayCloseReason reason);

  [[nodiscard]] relay::SessionLeg& session_leg(std::uint32_t slot) {
    return sessions.at(relay::ForwardingTable::session_of(slot)).leg(relay::ForwardingTable::side_of(slot));
  }

  RelayServerOptions options;
  Random& random;
  GrantSealer sealer;
  relay::ForwardingTable forwarding;
  relay::SessionTable sessions;
  relay::SourceCookie cookie;
  // Of the latest input.
  WallTime latest_wall{};
  relay::RevocationList<Identity> revoked;
  // A bind that was seen on the way must not bring back a session that was ended.
  relay::RevocationList<RelaySessionId> ended;
  RelayAccounts accounts;
  std::deque<Transmit> replies;
  RelayStats stats;
};

}  // namespace natt
