// SPDX-License-Identifier: Apache-2.0
#pragma once

// ChaCha20-Poly1305 (RFC 8439 section 2.8) for the one size a frame has. libsodium's own
// AEAD call runs the cipher twice and feeds Poly1305 in five pieces, which for 20 octets
// costs more than the work itself; this one asks libsodium's cipher for both blocks at
// once and its MAC for one message. Same octets, same constant-time comparison: the unit
// tests compare it with the library's call in both directions. Pure functions.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace natt::spa {

inline constexpr std::size_t kSealedSize = 20;
inline constexpr std::size_t kTagSize = 16;
// "spa1" ‖ transport ‖ id16(verifier) ‖ port ‖ binding
inline constexpr std::size_t kAssociatedDataSize = 4 + 1 + 16 + 2 + 32;

using SealedOctets = std::array<std::uint8_t, kSealedSize>;
using AssociatedData = std::array<std::uint8_t, kAssociatedDataSize>;

struct FrameAead {
  std::span<const std::uint8_t, 32> key;
  std::span<const std::uint8_t, 12> nonce;
  AssociatedData associated;

  void seal(const SealedOctets& plain, std::span<std::uint8_t, kSealedSize> cipher,
            std::span<std::uint8_t, kTagSize> tag) const;
  // Nothing when the tag is wrong; nothing is decrypted then.
  [[nodiscard]] std::optional<SealedOctets> open(std::span<const std::uint8_t, kSealedSize> cipher,
                                                 std::span<const std::uint8_t, kTagSize> tag) const;
};

}  // namespace natt::spa
