// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sessions a broker helps with: who with whom, whether the gateway accepted, and until
// when the registry waits for an answer or for an end to come back. Bounded in all and per
// client. Internal to libnatt; knows nothing of channels.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <natt/identity.h>
#include <natt/signal_hub.h>

namespace natt {

struct HubSession {
  Identity client;
  Identity gateway;
  bool accepted = false;
  // An end is away, or the answer is due.
  std::optional<Instant> deadline;
  // Asked for before the gateway accepted; surfaced when it does.
  std::set<std::pair<RelayTransport, Role>> relay_wanted;

  [[nodiscard]] bool has_end(const Identity& identity) const { return identity == client || identity == gateway; }
  [[nodiscard]] const Identity& other_end(const Identity& identity) const {
    return identity == client ? gateway : client;
  }
};

class SessionRegistry {
 public:
  SessionRegistry(std::size_t max_sessions, std::size_t max_per_client)
      : max_sessions_(max_sessions), max_per_client_(max_per_client) {}

  // Why not, or nothing when it was added.
  [[nodiscard]] std::optional<RefusalReason> add(const SessionKey& key, HubSession session);
  // Null when unknown. Valid until the session is removed.
  [[nodiscard]] HubSession* find(const SessionKey& key);
  void set_deadline(const SessionKey& key, HubSession& session, std::optional<Instant> deadline);
  void remove(const SessionKey& key);

  [[nodiscard]] std::vector<SessionKey> sessions_of(const Identity& identity) const;
  // One whose deadline has come.
  [[nodiscard]] std::optional<SessionKey> next_due(Instant now) const;
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::size_t size() const { return sessions_.size(); }

 private:
  std::size_t max_sessions_;
  std::size_t max_per_client_;
  std::map<SessionKey, HubSession> sessions_;
  std::map<Identity, std::set<SessionKey>> by_end_;
  std::set<std::pair<Instant, SessionKey>> deadlines_;
};

}  // namespace natt
