// SPDX-License-Identifier: Apache-2.0
#include "src/connection_table.h"

#include <algorithm>

namespace natt::tunnel {

ServerEntry& ConnectionTable::add(const Identity& identity, const TokenBucket& resets) {
  const ConnectionId id{++last_id_};
  auto entry = std::make_unique<ServerEntry>(ServerEntry{id, identity, nullptr, nullptr, resets, std::nullopt});
  ServerEntry& added = *(entries_[id.value] = std::move(entry));
  by_identity_.emplace(identity, &added);
  return added;
}

ServerEntry* ConnectionTable::find(ConnectionId id) const {
  const auto found = entries_.find(id.value);
  return found == entries_.end() ? nullptr : found->second.get();
}

void ConnectionTable::remove(ConnectionId id) {
  ServerEntry* const entry = find(id);
  if (entry == nullptr) return;
  const auto [first, last] = by_identity_.equal_range(entry->identity);
  by_identity_.erase(std::find_if(first, last, [entry](const auto& pair) { return pair.second == entry; }));
  entries_.erase(id.value);
}

std::vector<ServerEntry*> ConnectionTable::of(const Identity& identity) const {
  std::vector<ServerEntry*> entries;
  const auto [first, last] = by_identity_.equal_range(identity);
  for (auto it = first; it != last; ++it) {
    if (it->second->connection && it->second->connection->is_alive()) entries.push_back(it->second);
  }
  return entries;
}

std::vector<ServerEntry*> ConnectionTable::all() const {
  std::vector<ServerEntry*> entries;
  entries.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) entries.push_back(entry.get());
  return entries;
}

}  // namespace natt::tunnel
