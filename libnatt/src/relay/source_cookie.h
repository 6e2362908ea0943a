// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a source has to send back before a leg is bound to it. A function of leg,
// source and bind counter under a key of this run: nothing is stored, and it is good
// for the latest bind only.

#include <array>
#include <cstdint>

#include <natt/address.h>
#include <natt/random.h>
#include <natt/relay_wire.h>

namespace natt::relay {

class SourceCookie {
 public:
  explicit SourceCookie(Random& random) { random.fill(key_.mutable_view()); }

  [[nodiscard]] std::array<std::uint8_t, 8> make(RelayLegId leg, const SocketAddress& source,
                                                 std::uint64_t counter) const;
  [[nodiscard]] bool check(const std::array<std::uint8_t, 8>& cookie, RelayLegId leg, const SocketAddress& source,
                           std::uint64_t counter) const;

 private:
  RelayKey key_;
};

}  // namespace natt::relay
