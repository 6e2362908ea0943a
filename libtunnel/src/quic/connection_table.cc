// SPDX-License-Identifier: Apache-2.0
#include "src/quic/connection_table.h"

#include <algorithm>

namespace natt::tunnel {

IdRoutes::Key IdRoutes::Key::of(ByteView id) {
  Key key;
  const std::size_t size = std::min<std::size_t>(id.size(), key.octets.size() - 1);
  std::copy_n(id.begin(), size, key.octets.begin());
  key.octets.back() = static_cast<std::uint8_t>(id.size());
  return key;
}

std::size_t IdRoutes::Hash::operator()(const Key& id) const noexcept {
  std::uint64_t mixed = key;
  for (std::size_t i = 0; i < id.octets.size(); i += 8) {
    mixed = (mixed ^ load_be<std::uint64_t>(id.octets.data() + i)) * (key | 1);
    mixed ^= mixed >> 29;
  }
  return static_cast<std::size_t>(mixed);
}

ServerEntry* IdRoutes::find(ByteView id) const {
  const auto found = routes_.find(Key::of(id));
  return found == routes_.end() ? nullptr : found->second;
}

ServerIds::~ServerIds() {
  for (const ByteBuffer& id : own_) routes_.remove(id);
}

void ServerIds::add(ByteView id) {
  own_.emplace_back(id.begin(), id.end());
  routes_.add(id, entry_);
}

void ServerIds::issue(MutableBytes id) {
  const spa::ConnectionIdBytes made = key_.make(random_);
  std::copy_n(made.begin(), std::min(made.size(), id.size()), id.begin());
  add(id);
}

void ServerIds::retire(ByteView id) {
  const auto same = [id](const ByteBuffer& own) { return std::equal(own.begin(), own.end(), id.begin(), id.end()); };
  if (std::erase_if(own_, same) > 0) routes_.remove(id);
}

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
