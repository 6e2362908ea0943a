// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/inner_packet.h>

#include <algorithm>

namespace natt::tunnel {
namespace {

// RFC 791 section 3.1, RFC 8200 section 3.
constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kTcpHeader = 20;   // RFC 9293 section 3.1
constexpr std::size_t kUdpHeader = 8;    // RFC 768
constexpr std::size_t kIcmpHeader = 8;   // RFC 792, RFC 4443 section 2.1; echo has 8 as well
// RFC 792: an error quotes the header and 64 bits; enough for the ports.
constexpr std::size_t kQuotedPorts = 8;

struct NetworkHeader {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  ByteView payload;
};

IpAddress v4_at(ByteView bytes, std::size_t at) {
  return IpAddress::v4({bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]});
}

IpAddress v6_at(ByteView bytes, std::size_t at) {
  std::array<std::uint8_t, 16> octets{};
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 16, octets.begin());
  return IpAddress::v6(octets);
}

enum class Extent : std::uint8_t {
  kWhole,   // the lengths in the headers match the bytes given
  kQuoted,  // cut off by who quoted it
};

// Version 4, no options, neither fragment offset nor More Fragments; Don't Fragment may be set,
// the reserved bit may not (RFC 791).
std::optional<NetworkHeader> read_v4(ByteView bytes, Extent extent) {
  if (bytes.size() < kIpv4Header || bytes[0] != 0x45) return std::nullopt;
  const std::size_t total = load_be<std::uint16_t>(bytes.data() + 2);
  if (total < kIpv4Header || (extent == Extent::kWhole && total != bytes.size())) return std::nullopt;
  const auto fragment = load_be<std::uint16_t>(bytes.data() + 6);
  if ((fragment & 0xbfff) != 0) return std::nullopt;
  return NetworkHeader{v4_at(bytes, 12), v4_at(bytes, 16), bytes[9], bytes.subspan(kIpv4Header)};
}

// No extension header is accepted: Fragment, Routing and Hop-by-Hop would slip past the policy,
// and what follows the others cannot be judged without them.
std::optional<NetworkHeader> read_v6(ByteView bytes, Extent extent) {
  if (bytes.size() < kIpv6Header || (bytes[0] >> 4) != 6) return std::nullopt;
  const std::size_t payload = load_be<std::uint16_t>(bytes.data() + 4);
  if (extent == Extent::kWhole && payload != bytes.size() - kIpv6Header) return std::nullopt;
  const IpAddress source = v6_at(bytes, 8);
  const IpAddress destination = v6_at(bytes, 24);
  if (source.is_v4() || destination.is_v4()) return std::nullopt;  // v4-mapped addresses are never on a wire
  return NetworkHeader{source, destination, bytes[6], bytes.subspan(kIpv6Header)};
}

std::optional<NetworkHeader> read_network(ByteView bytes, Extent extent) {
  if (bytes.empty()) return std::nullopt;
  return (bytes[0] >> 4) == 4 ? read_v4(bytes, extent) : read_v6(bytes, extent);
}

FlowKey flow_of(const NetworkHeader& header, IpProtocol protocol) {
  return {protocol, header.source, header.destination, 0, 0};
}

void read_ports(FlowKey& flow, ByteView transport) {
  flow.source_port = load_be<std::uint16_t>(transport.data());
  flow.destination_port = load_be<std::uint16_t>(transport.data() + 2);
}

bool is_echo(IpProtocol protocol, std::uint8_t type) {
  if (protocol == IpProtocol::kIcmp) return type == 8 || type == 0;
  return type == 128 || type == 129;
}

// Unreachable, time exceeded, parameter problem; packet too big for IPv6. Redirects and source
// quench change hosts' behaviour and stay out.
bool is_error(IpProtocol protocol, std::uint8_t type) {
  if (protocol == IpProtocol::kIcmp) return type == 3 || type == 11 || type == 12;
  return type >= 1 && type <= 4;
}

bool read_echo(FlowKey& flow, ByteView transport) {
  flow.source_port = flow.destination_port = load_be<std::uint16_t>(transport.data() + 4);
  return true;
}

std::optional<FlowKey> read_quoted(ByteView bytes) {
  const auto header = read_network(bytes, Extent::kQuoted);
  if (!header || header->payload.size() < kQuotedPorts) return std::nullopt;
  const auto protocol = static_cast<IpProtocol>(header->protocol);
  FlowKey flow = flow_of(*header, protocol);
  switch (protocol) {
    case IpProtocol::kTcp:
    case IpProtocol::kUdp: read_ports(flow, header->payload); return flow;
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpV6:
      if (!is_echo(protocol, header->payload[0])) return std::nullopt;
      read_echo(flow, header->payload);
      return flow;
  }
  return std::nullopt;
}

bool read_tcp(InnerPacket& packet, ByteView transport) {
  if (transport.size() < kTcpHeader) return false;
  const std::size_t offset = static_cast<std::size_t>(transport[12] >> 4) * 4;
  if (offset < kTcpHeader || offset > transport.size()) return false;
  read_ports(packet.flow, transport);
  packet.tcp_flags = transport[13];
  return true;
}

bool read_udp(InnerPacket& packet, ByteView transport) {
  if (transport.size() < kUdpHeader) return false;
  if (load_be<std::uint16_t>(transport.data() + 4) != transport.size()) return false;
  read_ports(packet.flow, transport);
  return true;
}

bool read_icmp(InnerPacket& packet, ByteView transport) {
  if (transport.size() < kIcmpHeader) return false;
  packet.icmp_type = transport[0];
  packet.icmp_code = transport[1];
  if (is_echo(packet.flow.protocol, packet.icmp_type)) return read_echo(packet.flow, transport);
  if (!is_error(packet.flow.protocol, packet.icmp_type)) return false;
  packet.quoted = read_quoted(transport.subspan(kIcmpHeader));
  return packet.quoted.has_value();
}

}  // namespace

std::optional<InnerPacket> InnerPacket::parse(ByteView bytes) {
  const auto header = read_network(bytes, Extent::kWhole);
  if (!header) return std::nullopt;
  const bool v4 = header->source.is_v4();
  const auto protocol = static_cast<IpProtocol>(header->protocol);
  InnerPacket packet;
  packet.flow = flow_of(*header, protocol);
  switch (protocol) {
    case IpProtocol::kTcp:
      if (!read_tcp(packet, header->payload)) return std::nullopt;
      return packet;
    case IpProtocol::kUdp:
      if (!read_udp(packet, header->payload)) return std::nullopt;
      return packet;
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpV6:
      if (v4 != (protocol == IpProtocol::kIcmp) || !read_icmp(packet, header->payload)) return std::nullopt;
      return packet;
  }
  return std::nullopt;
}

}  // namespace natt::tunnel
