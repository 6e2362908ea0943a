// SPDX-License-Identifier: Apache-2.0
#include <natt/siphash.h>

#include <sodium.h>

#include <bit>

namespace natt {

static_assert(kSipHashKeySize == crypto_shorthash_KEYBYTES);

std::uint64_t siphash24(std::span<const std::uint8_t, kSipHashKeySize> key, ByteView message) {
  std::array<std::uint8_t, crypto_shorthash_BYTES> out{};
  crypto_shorthash(out.data(), message.data(), message.size(), key.data());
  auto value = std::bit_cast<std::uint64_t>(out);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return value;
}

}  // namespace natt
