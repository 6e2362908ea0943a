// SPDX-License-Identifier: Apache-2.0
#pragma once

// A frame as a datagram that reads as a DTLS 1.2 ClientHello (docs/WIRE.md section
// 1.4): frame[0..31] is the random, frame[32..63] the session id. First octet 22, so
// RFC 9443 tells it from STUN and QUIC on the same socket. Never answered. Pure
// functions.

#include <cstdint>
#include <optional>

#include <natt/bytes.h>
#include <natt/spa/frame.h>

namespace natt::spa {

// The first octet of every knock datagram (DTLS handshake, RFC 9147 section 4.1).
inline constexpr std::uint8_t kUdpKnockFirstOctet = 22;

[[nodiscard]] ByteBuffer make_udp_carrier(FrameView frame);
// The frame of a datagram that has the shape, without any allocation; what follows the session id is not looked
// at. Trust: anyone can make the shape.
[[nodiscard]] std::optional<Frame> parse_udp_carrier(ByteView datagram);

}  // namespace natt::spa
