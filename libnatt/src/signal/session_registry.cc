// SPDX-License-Identifier: Apache-2.0
#include "src/signal/session_registry.h"

namespace natt {

std::optional<RefusalReason> SessionRegistry::add(const SessionKey& key, HubSession session) {
  if (sessions_.contains(key)) return RefusalReason::kDuplicate;
  const auto own = by_end_.find(session.client);
  const bool client_full = own != by_end_.end() && own->second.size() >= max_per_client_;
  if (client_full || sessions_.size() >= max_sessions_) return RefusalReason::kTooManySessions;
  by_end_[session.client].insert(key);
  by_end_[session.gateway].insert(key);
  if (session.deadline) deadlines_.emplace(*session.deadline, key);
  sessions_.emplace(key, std::move(session));
  return std::nullopt;
}

HubSession* SessionRegistry::find(const SessionKey& key) {
  const auto at = sessions_.find(key);
  return at == sessions_.end() ? nullptr : &at->second;
}

void SessionRegistry::set_deadline(const SessionKey& key, HubSession& session, std::optional<Instant> deadline) {
  if (session.deadline) deadlines_.erase({*session.deadline, key});
  session.deadline = deadline;
  if (deadline) deadlines_.emplace(*deadline, key);
}

void SessionRegistry::remove(const SessionKey& key) {
  const auto at = sessions_.find(key);
  if (at == sessions_.end()) return;
  set_deadline(key, at->second, std::nullopt);
  for (const Identity& end : {at->second.client, at->second.gateway}) {
    const auto own = by_end_.find(end);
    own->second.erase(key);
    if (own->second.empty()) by_end_.erase(own);
  }
  sessions_.erase(at);
}

std::vector<SessionKey> SessionRegistry::sessions_of(const Identity& identity) const {
  const auto own = by_end_.find(identity);
  if (own == by_end_.end()) return {};
  return {own->second.begin(), own->second.end()};
}

std::optional<SessionKey> SessionRegistry::next_due(Instant now) const {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
  return deadlines_.begin()->second;
}

std::optional<Instant> SessionRegistry::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

}  // namespace natt
