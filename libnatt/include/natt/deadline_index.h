// SPDX-License-Identifier: Apache-2.0
#pragma once

// The earliest of many deadlines, when each belongs to one of thousands of objects of
// which few change at a time. Keys are unique. Not thread-safe; memory grows with keys.

#include <map>
#include <optional>
#include <set>
#include <utility>

#include <natt/time.h>

namespace natt {

template <typename Key>
class DeadlineIndex {
 public:
  // Replaces the key's deadline; absent removes it.
  void set(const Key& key, std::optional<Instant> deadline) {
    if (const auto old = deadlines_.find(key); old != deadlines_.end()) {
      if (old->second == deadline) return;
      order_.erase({old->second, key});
      deadlines_.erase(old);
    }
    if (!deadline) return;
    deadlines_.emplace(key, *deadline);
    order_.emplace(*deadline, key);
  }

  [[nodiscard]] std::optional<Instant> next() const {
    return order_.empty() ? std::nullopt : std::optional(order_.begin()->first);
  }

  // A key whose deadline has come; it is removed.
  [[nodiscard]] std::optional<Key> take_due(Instant now) {
    if (order_.empty() || order_.begin()->first > now) return std::nullopt;
    const Key key = order_.begin()->second;
    order_.erase(order_.begin());
    deadlines_.erase(key);
    return key;
  }

 private:
  std::set<std::pair<Instant, Key>> order_;
  std::map<Key, Instant> deadlines_;
};

}  // namespace natt
