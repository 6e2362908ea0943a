// SPDX-License-Identifier: Apache-2.0
#include <natt/siphash.h>

#include <sodium.h>

namespace natt {

static_assert(kSipHashKeySize == crypto_shorthash_KEYBYTES);

std::uint64_t siphash24(std::span<const std::uint8_t, kSipHashKeySize> key, ByteView message) {
  std::array<std::uint8_t, crypto_shorthash_BYTES> out{};
  crypto_shorthash(out.data(), message.data(), message.size(), key.data());
  std::uint64_t value = 0;
  for (std::size_t i = out.size(); i-- > 0;) value = (value << 8) | out[i];
  return value;
}

}  // namespace natt
