// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tells clients that have gone from clients that sleep. A sleeping notebook keeps its
// signaling channel, so its tunnel stays for QUIC's idle time-out; a killed one loses the
// channel, and a broker says so. The broker's word alone ends nothing: the client is asked
// for a sign of life first: an answer, or, behind a download on a slow link, that its host
// acknowledges what waits in front of the question. Value-like owner; the server outlives it.

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include <natt/tunnel/server_tunnels.h>

namespace natt::tunnel::uv {

class AbsenceProbe {
 public:
  // PINGs go out at this interval, and are answered within one round trip.
  static constexpr Duration kPingInterval = std::chrono::seconds(1);
  // Time for an answer: a few losses, or a roaming client's way back.
  static constexpr Duration kPatience = std::chrono::seconds(10);

  // Over a relay, whose host acknowledges for the client whatever it is: for what the relay and both kernels hold, some
  // 4 MB, at half a megabit a second.
  static constexpr Duration kRelayPatience = std::chrono::seconds(60);

  // Whether the client's host has acknowledged, since the last call, some of what waits for it.
  using MovesBacklog = std::function<bool(ConnectionId)>;

  AbsenceProbe(ServerTunnels& server, MovesBacklog moves_backlog)
      : server_(server), moves_backlog_(std::move(moves_backlog)) {}
  AbsenceProbe(const AbsenceProbe&) = delete;
  AbsenceProbe& operator=(const AbsenceProbe&) = delete;

  // A broker says that the connection's client is gone.
  void start(Instant now, ConnectionId connection, Duration patience = kPatience);
  void forget(ConnectionId connection) { asked_.erase(connection); }
  // Connections that did not answer in time: to be closed.
  [[nodiscard]] std::vector<ConnectionId> handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  struct Asked {
    Instant until;
    Duration patience{};
    std::uint64_t packets_in = 0;
  };
  [[nodiscard]] std::uint64_t packets_in(ConnectionId connection) const;
  // Not yet: it is asked on.
  [[nodiscard]] bool may_answer(Instant now, ConnectionId connection, Asked& asked) const;

  ServerTunnels& server_;
  MovesBacklog moves_backlog_;
  std::map<ConnectionId, Asked> asked_;
};

}  // namespace natt::tunnel::uv
