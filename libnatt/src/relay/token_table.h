// SPDX-License-Identifier: Apache-2.0
#pragma once

// Pairing tokens of relaying over TCP: whose leg each is of, and for a while what became of
// those that are over, for the counters. How long a look-up takes says nothing about the
// tokens that exist: they are found by a hash under a key of this run, and compared in
// constant time.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include <natt/random.h>
#include <natt/relay_wire.h>
#include <natt/tcp_relay.h>
#include <natt/time.h>

namespace natt::relay {

enum class TokenFate : std::uint8_t { kUsed, kExpired, kRevoked, kReplaced };

class TokenTable {
 public:
  struct Place {
    std::uint64_t session = 0;
    RelaySide side = RelaySide::kClient;
  };

  explicit TokenTable(Random& random);

  [[nodiscard]] TcpRelayToken issue(const Place& place);
  // Absent: not a token, or it is over.
  [[nodiscard]] std::optional<Place> find(const TcpRelayToken& token) const;
  // Absent: never given out, or long ago.
  [[nodiscard]] std::optional<TokenFate> fate_of(const TcpRelayToken& token) const;
  void retire(Instant now, const TcpRelayToken& token, TokenFate fate);
  // Of those that are over, what is old enough.
  void forget(Instant now);

 private:
  struct Live {
    TcpRelayToken token{};
    Place place;
  };
  struct Retired {
    TcpRelayToken token{};
    TokenFate fate = TokenFate::kUsed;
  };
  [[nodiscard]] std::uint64_t key_of(const TcpRelayToken& token) const;

  Random& random_;
  std::array<std::uint64_t, 2> hash_key_;
  std::unordered_map<std::uint64_t, Live> live_;
  std::unordered_map<std::uint64_t, Retired> retired_;
  std::deque<std::pair<Instant, std::uint64_t>> retired_order_;
};

}  // namespace natt::relay
