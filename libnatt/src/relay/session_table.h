// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the relay knows about its sessions besides forwarding: whose they are, keys,
// counters and when they end. Touched by control frames only.

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <natt/identity.h>
#include <natt/relay_grant.h>
#include <natt/time.h>

#include "src/relay/relay_accounts.h"

namespace natt::relay {

struct SessionLeg {
  RelayKey key;
  // Of the last authentic frame; the next has to be above it.
  std::uint64_t counter = 0;
  // When the last challenge went out; absent: never.
  std::optional<Instant> challenged_at;
  // When the leg's grant ends; absent until it has presented one.
  std::optional<Instant> expires;
};

struct Session {
  RelaySessionId id{};
  Identity client;
  Identity gateway;
  RelayAccounts::Seat seat;
  std::array<SessionLeg, 2> legs;
  Instant since{};
  std::optional<Instant> deadline;  // as it stands in the order of deadlines

  [[nodiscard]] SessionLeg& leg(RelaySide side) { return legs[static_cast<std::size_t>(side)]; }
  [[nodiscard]] const SessionLeg& leg(RelaySide side) const { return legs[static_cast<std::size_t>(side)]; }
};

class SessionTable {
 public:
  // Indexed like the forwarding table's sessions.
  void insert(std::uint32_t index, Session session);
  void erase(std::uint32_t index);
  [[nodiscard]] std::optional<std::uint32_t> find(const RelaySessionId& id) const;
  [[nodiscard]] Session& at(std::uint32_t index) { return *sessions_[index]; }
  [[nodiscard]] const Session& at(std::uint32_t index) const { return *sessions_[index]; }
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }

  // To be called when a leg's `expires` has changed: the session ends with the first of its grants.
  void update_deadline(std::uint32_t index);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // A session that is due; absent when none is.
  [[nodiscard]] std::optional<std::uint32_t> due(Instant now) const;

  // Ascending; a copy, so that sessions may be closed meanwhile.
  [[nodiscard]] std::vector<std::uint32_t> indices() const;

 private:
  struct IdHash {
    // Session ids come sealed from us and are random.
    std::size_t operator()(const RelaySessionId& id) const noexcept { return load_be<std::uint64_t>(id.data()); }
  };
  void drop_deadline(std::uint32_t index);

  std::vector<std::optional<Session>> sessions_;
  std::unordered_map<RelaySessionId, std::uint32_t, IdHash> by_id_;
  std::set<std::pair<Instant, std::uint32_t>> deadlines_;
};

}  // namespace natt::relay
