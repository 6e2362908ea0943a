// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the gate reads of a QUIC packet before any QUIC or TLS object exists: the
// invariant header (RFC 8999 section 5.1) and the long header of an Initial (RFC 9000
// section 17.2.2, RFC 9369 section 3.2), whose token is a frame. Nothing is decrypted.
// Pure functions.

#include <cstdint>
#include <optional>

#include <natt/bytes.h>
#include <natt/spa/frame.h>

namespace natt::spa {

inline constexpr std::uint32_t kQuicVersion1 = 0x00000001;
inline constexpr std::uint32_t kQuicVersion2 = 0x6b3343cf;

struct QuicInitial {
  std::uint32_t version = 0;
  // Views into the datagram. Trust: unauthenticated until a verifier granted the token, which binds both.
  ByteView dcid;  // 8 to 20 octets
  ByteView scid;  // 0 to 20 octets
  FrameView token;
};

// The first packet of a datagram, when it is an Initial of version 1 or 2 with a token of 64 octets in a datagram
// of at least 1200 (RFC 9000 section 14.1).
[[nodiscard]] std::optional<QuicInitial> parse_quic_initial(ByteView datagram);

}  // namespace natt::spa
