// SPDX-License-Identifier: Apache-2.0
#include "verdict_cache.h"

#include <algorithm>

namespace natt::spa {

std::optional<FrameBody> VerdictCache::find(Instant now, std::uint64_t key) const {
  const std::size_t first = first_of(key);
  for (std::size_t i = first; i < first + kWays; ++i) {
    if (entries_[i].key == key && now < entries_[i].expires) return entries_[i].body;
  }
  return std::nullopt;
}

void VerdictCache::insert(std::uint64_t key, Instant expires, const FrameBody& body) {
  Entry* const begin = &entries_[first_of(key)];
  Entry* const oldest =
      std::min_element(begin, begin + kWays, [](const Entry& a, const Entry& b) { return a.expires < b.expires; });
  *oldest = {key, expires, body};
}

}  // namespace natt::spa
