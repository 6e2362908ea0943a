// SPDX-License-Identifier: Apache-2.0
#include "src/relay/account_table.h"

#include <algorithm>

namespace natt::relay {

TokenBucket make_rate(const RelayQuota& quota, Duration burst) {
  const auto milliseconds = static_cast<std::uint64_t>(burst / std::chrono::milliseconds(1));
  const std::uint64_t saved = quota.bits_per_second / 1000 * milliseconds;
  return {quota.bits_per_second, std::max(saved, RelayServer::kMinimumBurst * 8)};
}

AccountTable::AccountTable(const RelayQuota& quota, Duration burst) : quota_(quota), burst_(burst) {}

bool AccountTable::has_room(const std::string& name) const {
  if (quota_.sessions == 0) return true;
  const auto found = accounts_.find(name);
  return found == accounts_.end() || found->second.sessions < quota_.sessions;
}

Account& AccountTable::acquire(const std::string& name) {
  const auto [entry, added] = accounts_.try_emplace(name);
  if (added) entry->second = {name, 0, make_rate(quota_, burst_)};
  ++entry->second.sessions;
  return entry->second;
}

void AccountTable::release(Account& account) {
  if (--account.sessions > 0) return;
  const std::string name = account.name;  // the account goes before its name is done with
  accounts_.erase(name);
}

void AccountTable::set_quota(const RelayQuota& quota) {
  quota_ = quota;
  for (auto& [name, account] : accounts_) account.rate = make_rate(quota_, burst_);
}

}  // namespace natt::relay
