// SPDX-License-Identifier: Apache-2.0
#pragma once

// The headers of an IP packet inside the tunnel, read strictly, for the gateway's policy
// (DESIGN section 9). What a policy cannot judge is refused: fragments, IPv4 options, IPv6
// extension headers, lengths that disagree, truncated transport headers. Peer-supplied bytes;
// pure function, value type.

#include <cstdint>
#include <optional>

#include <natt/address.h>
#include <natt/bytes.h>

namespace natt::tunnel {

enum class IpProtocol : std::uint8_t { kIcmp = 1, kTcp = 6, kUdp = 17, kIcmpV6 = 58 };

// One direction of a conversation. For ICMP echo both ports are the identifier.
struct FlowKey {
  IpProtocol protocol = IpProtocol::kTcp;
  IpAddress source;
  IpAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;

  [[nodiscard]] FlowKey reversed() const {
    return {protocol, destination, source, destination_port, source_port};
  }
  [[nodiscard]] bool is_icmp() const { return protocol == IpProtocol::kIcmp || protocol == IpProtocol::kIcmpV6; }
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

enum class TcpFlags : std::uint8_t { kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10 };

struct InnerPacket {
  FlowKey flow;
  // TCP: the flag octet. ICMP: 0.
  std::uint8_t tcp_flags = 0;
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  // An ICMP error (unreachable, packet too big, time exceeded, parameter problem): the flow of
  // the packet it quotes, as that packet's sender sent it.
  std::optional<FlowKey> quoted;

  [[nodiscard]] bool has(TcpFlags flag) const { return (tcp_flags & static_cast<std::uint8_t>(flag)) != 0; }

  // RFC 792, RFC 4443 section 4.1.
  [[nodiscard]] bool is_echo_request() const {
    return flow.is_icmp() && icmp_type == (flow.protocol == IpProtocol::kIcmp ? 8 : 128);
  }

  // Exactly one packet: total length equals the size given. Nothing for anything but TCP,
  // UDP, ICMP and ICMPv6 over plain IPv4 or IPv6 headers. Checksums are left to the hosts.
  [[nodiscard]] static std::optional<InnerPacket> parse(ByteView bytes);
};

}  // namespace natt::tunnel
