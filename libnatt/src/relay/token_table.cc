// SPDX-License-Identifier: Apache-2.0
#include "src/relay/token_table.h"

#include <openssl/siphash.h>

#include <natt/secret.h>

namespace natt::relay {

TokenTable::TokenTable(Random& random) : random_(random), hash_key_{random.next_u64(), random.next_u64()} {}

std::uint64_t TokenTable::key_of(const TcpRelayToken& token) const {
  return SIPHASH_24(hash_key_.data(), token.data(), token.size());
}

TcpRelayToken TokenTable::issue(const Place& place) {
  TcpRelayToken token = random_.bytes<16>();
  // Two of them under one hash: not within the life of a broker.
  while (live_.contains(key_of(token)) || retired_.contains(key_of(token))) token = random_.bytes<16>();
  live_.emplace(key_of(token), Live{token, place});
  return token;
}

std::optional<TokenTable::Place> TokenTable::find(const TcpRelayToken& token) const {
  const auto found = live_.find(key_of(token));
  if (found == live_.end() || !constant_time_equal(found->second.token, token)) return std::nullopt;
  return found->second.place;
}

std::optional<TokenFate> TokenTable::fate_of(const TcpRelayToken& token) const {
  const auto found = retired_.find(key_of(token));
  if (found == retired_.end() || !constant_time_equal(found->second.token, token)) return std::nullopt;
  return found->second.fate;
}

void TokenTable::retire(Instant now, const TcpRelayToken& token, TokenFate fate) {
  const std::uint64_t key = key_of(token);
  if (live_.erase(key) == 0) return;
  forget(now);
  if (retired_order_.size() >= TcpRelay::kMaxRemembered) {
    retired_.erase(retired_order_.front().second);
    retired_order_.pop_front();
  }
  retired_.emplace(key, Retired{token, fate});
  retired_order_.emplace_back(now, key);
}

void TokenTable::forget(Instant now) {
  while (!retired_order_.empty() && retired_order_.front().first + TcpRelay::kRememberTokens <= now) {
    retired_.erase(retired_order_.front().second);
    retired_order_.pop_front();
  }
}

}  // namespace natt::relay
