// SPDX-License-Identifier: Apache-2.0
#include "src/punch/session_table.h"

namespace natt {

bool SessionTable::add(std::unique_ptr<SessionState> session) {
  const PunchSession& description = session->description();
  if (by_id_.contains(description.id) || by_ufrag_.contains(description.local.ufrag)) return false;
  by_ufrag_.emplace(description.local.ufrag, session.get());
  by_id_.emplace(description.id, std::move(session));
  return true;
}

void SessionTable::remove(PunchSessionId id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  const SessionState& session = *found->second;
  if (session.filed_deadline) by_deadline_.erase({*session.filed_deadline, id});
  by_ufrag_.erase(session.description().local.ufrag);
  by_id_.erase(found);
}

SessionState* SessionTable::find(PunchSessionId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

SessionState* SessionTable::find_by_ufrag(std::string_view ufrag) const {
  const auto found = by_ufrag_.find(ufrag);
  return found == by_ufrag_.end() ? nullptr : found->second;
}

void SessionTable::file(SessionState& session) {
  const std::optional<Instant> next = session.next_deadline();
  if (next == session.filed_deadline) return;
  const PunchSessionId id = session.description().id;
  if (session.filed_deadline) by_deadline_.erase({*session.filed_deadline, id});
  if (next) by_deadline_.emplace(*next, id);
  session.filed_deadline = next;
}

std::optional<Instant> SessionTable::next_deadline() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first;
}

std::vector<PunchSessionId> SessionTable::due(Instant now) const {
  std::vector<PunchSessionId> ids;
  for (const auto& [deadline, id] : by_deadline_) {
    if (deadline > now) break;
    ids.push_back(id);
  }
  return ids;
}

}  // namespace natt
