// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/session_table.h"

namespace natt::uv {

void SessionTable::open(Instant now, const SessionKey& key, const Identity& client, const Identity& gateway) {
  report(now, {.key = key, .client = client, .gateway = gateway, .type = std::nullopt, .reason = std::nullopt, .since = now});
}

void SessionTable::report(Instant now, const BrokerSession& session) {
  const auto found = sessions_.find(session.key);
  if (found == sessions_.end()) {
    if (sessions_.size() >= kMaxSessions) return;
    sessions_.emplace(session.key, session).first->second.since = now;
    return;
  }
  // Another client cannot speak for this session: ids are random, but nothing keeps one from guessing.
  if (found->second.client != session.client || !session.type) return;
  found->second.type = session.type;
  found->second.reason = session.reason;
}

void SessionTable::close(const SessionKey& key) { sessions_.erase(key); }

void SessionTable::client_left(Instant now, const Identity& client) { left_[client] = now + kGrace; }

void SessionTable::client_returned(const Identity& client) { left_.erase(client); }

void SessionTable::remove_device(const Identity& identity) {
  left_.erase(identity);
  std::erase_if(sessions_, [&](const auto& entry) {
    return entry.second.client == identity || entry.second.gateway == identity;
  });
}

void SessionTable::handle_timeout(Instant now) {
  for (auto entry = left_.begin(); entry != left_.end();) {
    if (entry->second > now) {
      ++entry;
      continue;
    }
    std::erase_if(sessions_, [&](const auto& session) { return session.second.client == entry->first; });
    entry = left_.erase(entry);
  }
}

std::optional<Instant> SessionTable::next_deadline() const {
  std::optional<Instant> deadline;
  for (const auto& [client, at] : left_) deadline = earlier(deadline, at);
  return deadline;
}

std::vector<BrokerSession> SessionTable::list() const {
  std::vector<BrokerSession> sessions;
  for (const auto& [key, session] : sessions_) sessions.push_back(session);
  return sessions;
}

}  // namespace natt::uv
