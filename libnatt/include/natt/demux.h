// SPDX-License-Identifier: Apache-2.0
#pragma once

// One UDP socket, many protocols: which one a datagram belongs to, by its first
// byte (RFC 9443 section 3) and nothing else. Being of a kind proves nothing; the
// protocol's own check follows. Pure functions.

#include <natt/bytes.h>
#include <natt/stun_message.h>

namespace natt {

enum class DatagramKind : std::uint8_t {
  kUnknown,  // drop
  kStun,     // 0-3
  kRelay,    // 0x0c, out of 4-15 which RFC 9443 leaves unassigned
  kKnock,    // 22, shaped like a DTLS handshake record
  kQuic,     // 64-255
  kDns,      // only by classify_dns_port_datagram
};

inline constexpr std::uint8_t kRelayFirstByte = 0x0c;
inline constexpr std::uint8_t kKnockFirstByte = 22;

// For UDP/443 and for a gateway's or client's tunnel socket.
[[nodiscard]] constexpr DatagramKind classify_datagram(ByteView datagram) {
  if (datagram.empty()) return DatagramKind::kUnknown;
  const std::uint8_t first = datagram[0];
  if (first >= 64) return DatagramKind::kQuic;
  if (first == kRelayFirstByte) return DatagramKind::kRelay;
  if (first == kKnockFirstByte) return DatagramKind::kKnock;
  if (first <= 3) return DatagramKind::kStun;
  return DatagramKind::kUnknown;
}

// For UDP/53, where a DNS message starts with two octets of any value: STUN is
// what carries the magic cookie, everything else is (or plays) DNS.
[[nodiscard]] constexpr DatagramKind classify_dns_port_datagram(ByteView datagram) {
  if (datagram.size() >= 20 && datagram[0] <= 3 && load_be<std::uint32_t>(datagram.data() + 4) == kStunMagicCookie) {
    return DatagramKind::kStun;
  }
  return datagram.empty() ? DatagramKind::kUnknown : DatagramKind::kDns;
}

}  // namespace natt
