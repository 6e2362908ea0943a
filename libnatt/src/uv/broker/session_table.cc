// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/session_table.h"

namespace natt::uv {

void SessionTable::open(Instant now, const SessionKey& key, const Identity& client, const Identity& gateway) {
  report(now, {.key = key, .client = client, .gateway = gateway, .type = std::nullopt, .reason = std::nullopt, .since = now});
}

void SessionTable::report(Instant now, const BrokerSession& session) {
  const auto found = sessions_.find(session.key);
  if (found == sessions_.end()) {
    if (sessions_.size() >= kMaxSessions || per_client_[session.client] >= kMaxPerClient) return;
    ++per_client_[session.client];
    BrokerSession& added = sessions_.emplace(session.key, session).first->second;
    added.since = now;
    added.type.reset();
    set_type(added, session.type);
    return;
  }
  // Another client cannot speak for this session, should it have learned the id.
  if (found->second.client != session.client || !session.type) return;
  set_type(found->second, session.type);
  found->second.reason = session.reason;
}

void SessionTable::set_type(BrokerSession& session, std::optional<ConnectionType> type) {
  if (session.type) --counts_[static_cast<std::size_t>(*session.type)];
  session.type = type;
  if (session.type) ++counts_[static_cast<std::size_t>(*session.type)];
}

void SessionTable::erase(std::map<SessionKey, BrokerSession>::iterator session) {
  const auto count = per_client_.find(session->second.client);
  if (count != per_client_.end() && --count->second == 0) per_client_.erase(count);
  set_type(session->second, std::nullopt);
  sessions_.erase(session);
}

void SessionTable::close(const SessionKey& key) {
  if (const auto found = sessions_.find(key); found != sessions_.end()) erase(found);
}

void SessionTable::close_reported(const SessionKey& key, const Identity& client) {
  const auto found = sessions_.find(key);
  if (found != sessions_.end() && found->second.client == client) erase(found);
}

void SessionTable::client_left(Instant now, const Identity& client) { left_[client] = now + kGrace; }

void SessionTable::client_returned(const Identity& client) { left_.erase(client); }

void SessionTable::remove_device(const Identity& identity) {
  left_.erase(identity);
  for (auto session = sessions_.begin(); session != sessions_.end();) {
    const auto current = session++;
    if (current->second.client == identity || current->second.gateway == identity) erase(current);
  }
}

void SessionTable::remove_sessions_of(const Identity& client) {
  for (auto session = sessions_.begin(); session != sessions_.end();) {
    const auto current = session++;
    if (current->second.client == client) erase(current);
  }
}

void SessionTable::handle_timeout(Instant now) {
  for (auto entry = left_.begin(); entry != left_.end();) {
    if (entry->second > now) {
      ++entry;
      continue;
    }
    remove_sessions_of(entry->first);
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
