// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two checksums of STUN over a message whose length field reads as if it ended
// with the checksum's own attribute (RFC 8489 sections 14.5 to 14.7): what stands
// behind that attribute is not covered. Builder and reader share this one rule.

#include <array>
#include <cstdint>

#include <natt/bytes.h>

namespace natt {

inline constexpr std::size_t kSha1Size = 20;
inline constexpr std::size_t kSha256Size = 32;
inline constexpr std::uint32_t kFingerprintXor = 0x5354554E;  // "STUN"

// `covered` is the message up to the attribute, at least the message header.
[[nodiscard]] std::array<std::uint8_t, kSha1Size> stun_hmac_sha1(ByteView key, ByteView covered);
[[nodiscard]] std::array<std::uint8_t, kSha256Size> stun_hmac_sha256(ByteView key, ByteView covered);
// `covered` carries the right length already: FINGERPRINT is always last.
[[nodiscard]] std::uint32_t stun_fingerprint(ByteView covered);

}  // namespace natt
