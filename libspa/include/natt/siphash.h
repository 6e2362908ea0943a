// SPDX-License-Identifier: Apache-2.0
#pragma once

// SipHash-2-4 with 64-bit output (Aumasson, Bernstein 2012): a keyed hash that is
// cheap enough to refuse a stranger's packet before anything else is done with it.
// Pure function, usable from any thread. Identical to libsodium's crypto_shorthash,
// whose eight output octets are this number in little-endian order.

#include <cstdint>
#include <span>

#include <natt/bytes.h>

namespace natt {

inline constexpr std::size_t kSipHashKeySize = 16;

[[nodiscard]] std::uint64_t siphash24(std::span<const std::uint8_t, kSipHashKeySize> key, ByteView message);

}  // namespace natt
