// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a broker knows about running sessions: who with whom, since when, and how they are
// connected as their clients report it. Bounded; a session whose client left without a
// word is kept for a while, because its tunnel may run on without this broker.
// Value-like owner, one thread.

#include <map>
#include <vector>

#include <natt/uv/broker.h>

namespace natt::uv {

class SessionTable {
 public:
  static constexpr std::size_t kMaxSessions = 200'000;
  // One client's; what it invents beyond them is not recorded.
  static constexpr std::size_t kMaxPerClient = 256;
  // As long as a client may need to come back and report again.
  static constexpr Duration kGrace = std::chrono::seconds(60);

  // The gateway accepted; how it is connected is not known yet.
  void open(Instant now, const SessionKey& key, const Identity& client, const Identity& gateway);
  // A client says how a session is connected, one the broker has not helped with included.
  void report(Instant now, const BrokerSession& session);
  void close(const SessionKey& key);
  // A client says that a session has ended: its own ones only.
  void close_reported(const SessionKey& key, const Identity& client);
  // The client's channel is gone or back.
  void client_left(Instant now, const Identity& client);
  void client_returned(const Identity& client);
  // Revocation.
  void remove_device(const Identity& identity);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  [[nodiscard]] std::vector<BrokerSession> list() const;
  // Of those whose type is known.
  [[nodiscard]] const ConnectionCounts& counts() const { return counts_; }

 private:
  std::map<SessionKey, BrokerSession> sessions_;
  std::map<Identity, Instant> left_;
  std::map<Identity, std::size_t> per_client_;
  ConnectionCounts counts_{};
  void remove_sessions_of(const Identity& client);
  void set_type(BrokerSession& session, std::optional<ConnectionType> type);
  void erase(std::map<SessionKey, BrokerSession>::iterator session);
};

}  // namespace natt::uv
