// SPDX-License-Identifier: Apache-2.0
#pragma once

// The 16 octets that stand for a device or verifier inside SPA: BLAKE2b-16 of its
// SPIFFE URI (docs/WIRE.md section 1.1). Value type.

#include <array>
#include <compare>
#include <cstdint>

#include <natt/identity.h>

namespace natt::spa {

struct DeviceId {
  std::array<std::uint8_t, 16> bytes{};

  [[nodiscard]] static DeviceId of(const Identity& identity);
  friend auto operator<=>(const DeviceId&, const DeviceId&) = default;
};

}  // namespace natt::spa
