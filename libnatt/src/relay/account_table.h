// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who uses how much of the relay: one account per client and per site that has
// sessions, with its session count and its rate. Accounts come and go with the
// sessions, which quotas bound.

#include <cstdint>
#include <string>
#include <unordered_map>

#include <natt/relay_server.h>
#include <natt/token_bucket.h>

namespace natt::relay {

struct Account {
  std::string name;
  std::uint64_t sessions = 0;
  TokenBucket rate;  // bits
};

class AccountTable {
 public:
  AccountTable(const RelayQuota& quota, Duration burst);

  // False when the quota of sessions is used up. Does not open an account.
  [[nodiscard]] bool has_room(const std::string& name) const;
  // Counts one more session. The reference stays until the last release().
  [[nodiscard]] Account& acquire(const std::string& name);
  void release(Account& account);
  // For existing accounts too; their rates start full.
  void set_quota(const RelayQuota& quota);
  [[nodiscard]] bool limits_rate() const { return quota_.bits_per_second != 0; }

 private:
  RelayQuota quota_;
  Duration burst_;
  std::unordered_map<std::string, Account> accounts_;
};

// A bucket that holds `burst` worth of the quota's rate, and at least one GRO train.
[[nodiscard]] TokenBucket make_rate(const RelayQuota& quota, Duration burst);

}  // namespace natt::relay
