// SPDX-License-Identifier: Apache-2.0
#pragma once

// Self-authenticating QUIC connection IDs (docs/WIRE.md section 1.7): 8 random octets
// and the SipHash of them under a key of the server's own. A packet from an address
// never seen passes the gate by its connection ID alone, without state, and strangers'
// packets are dropped before the QUIC stack can answer one.

#include <array>
#include <cstdint>
#include <span>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/secret.h>

namespace natt::spa {

inline constexpr std::size_t kConnectionIdSize = 16;
using ConnectionIdBytes = std::array<std::uint8_t, kConnectionIdSize>;

// Value type; constant after construction.
class ConnectionIdKey {
 public:
  explicit ConnectionIdKey(Random& random) : key_(random.bytes<16>()) {}
  explicit ConnectionIdKey(std::span<const std::uint8_t, 16> key) : key_(key) {}

  [[nodiscard]] ConnectionIdBytes make(Random& random) const;
  // False for any other size. Constant time in the contents.
  [[nodiscard]] bool verify(ByteView connection_id) const;
  // For a gate that checks earlier.
  [[nodiscard]] std::span<const std::uint8_t, 16> view() const { return key_.view(); }

 private:
  Secret<16> key_;
};

}  // namespace natt::spa
