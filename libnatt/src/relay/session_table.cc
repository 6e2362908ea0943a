// SPDX-License-Identifier: Apache-2.0
#include "src/relay/session_table.h"

namespace natt::relay {

void SessionTable::insert(std::uint32_t index, Session session) {
  if (sessions_.size() <= index) sessions_.resize(index + std::size_t{1});
  by_id_.emplace(session.id, index);
  sessions_[index] = std::move(session);
}

void SessionTable::erase(std::uint32_t index) {
  drop_deadline(index);
  by_id_.erase(at(index).id);
  sessions_[index].reset();
}

std::optional<std::uint32_t> SessionTable::find(const RelaySessionId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? std::nullopt : std::optional(found->second);
}

void SessionTable::update_deadline(std::uint32_t index) {
  drop_deadline(index);
  Session& session = at(index);
  session.deadline = earlier(session.legs[0].expires, session.legs[1].expires);
  if (session.deadline) deadlines_.emplace(*session.deadline, index);
}

void SessionTable::drop_deadline(std::uint32_t index) {
  if (at(index).deadline) deadlines_.erase({*at(index).deadline, index});
}

std::optional<Instant> SessionTable::next_deadline() const {
  return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.begin()->first);
}

std::optional<std::uint32_t> SessionTable::due(Instant now) const {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
  return deadlines_.begin()->second;
}

std::vector<std::uint32_t> SessionTable::indices() const {
  std::vector<std::uint32_t> all;
  all.reserve(by_id_.size());
  for (std::uint32_t i = 0; i < sessions_.size(); ++i) {
    if (sessions_[i]) all.push_back(i);
  }
  return all;
}

}  // namespace natt::relay
