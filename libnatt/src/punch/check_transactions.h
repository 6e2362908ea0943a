// SPDX-License-Identifier: Apache-2.0
#pragma once

// The checks that wait for an answer, found by the random part of their transaction
// id. Bounded by its user: each pair lets its oldest go (candidate_pair.h).

#include <cstdint>
#include <unordered_map>

#include <natt/punch_session.h>
#include <natt/stun_transaction_id.h>

namespace natt {

struct CheckTransaction {
  PunchPath path;
  StunTransactionId id;
  Instant sent_at;
  bool charged = false;  // counts in the ProbeBudget until it is answered
};

class CheckTransactions {
 public:
  // A nonce that no waiting check has.
  [[nodiscard]] std::uint32_t fresh_nonce(Random& random) const {
    for (;;) {
      const auto nonce = static_cast<std::uint32_t>(random.next_u64() & 0xFFFFFFFFU);
      if (!waiting_.contains(nonce)) return nonce;
    }
  }
  void add(const CheckTransaction& transaction) { waiting_.emplace(transaction_nonce(transaction.id), transaction); }
  void remove(std::uint32_t nonce) { waiting_.erase(nonce); }
  // Valid until the next change; null when nothing waits under that nonce.
  [[nodiscard]] const CheckTransaction* find(std::uint32_t nonce) const {
    const auto found = waiting_.find(nonce);
    return found == waiting_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }

 private:
  std::unordered_map<std::uint32_t, CheckTransaction> waiting_;
};

}  // namespace natt
