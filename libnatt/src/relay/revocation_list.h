// SPDX-License-Identifier: Apache-2.0
#pragma once

// Identities, or sessions, whose grants of up to some moment count no longer. An
// entry is needed only for as long as such a grant could live.

#include <limits>
#include <map>

#include <natt/relay_grant.h>
#include <natt/time.h>

namespace natt::relay {

template <typename Key>
class RevocationList {
 public:
  RevocationList() = default;
  // Beyond `limit` entries the list forgets some.
  explicit RevocationList(std::size_t limit) : limit_(limit) {}

  void add(const Key& key, WallTime wall_now) {
    if (entries_.size() >= limit_ && !entries_.contains(key)) entries_.erase(entries_.begin());
    entries_[key] = wall_now;
  }

  [[nodiscard]] bool covers(const Key& key, WallTime issued) const {
    const auto found = entries_.find(key);
    return found != entries_.end() && issued <= found->second;
  }

  // `tolerance` is by how much a clock may step back.
  void prune(WallTime wall_now, std::chrono::milliseconds tolerance) {
    std::erase_if(entries_,
                  [&](const auto& entry) { return entry.second + kRelayGrantLifetime + tolerance < wall_now; });
  }

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  std::size_t limit_ = std::numeric_limits<std::size_t>::max();
  std::map<Key, WallTime> entries_;
};

}  // namespace natt::relay
