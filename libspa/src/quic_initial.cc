// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/quic_initial.h>

namespace natt::spa {
namespace {

// RFC 9000 section 14.1: "A server MUST discard an Initial packet that is carried in a UDP datagram with a payload
// that is smaller than the smallest allowed maximum datagram size of 1200 bytes."
constexpr std::size_t kMinDatagram = 1200;
// RFC 9000 section 7.2: the client's first Destination Connection ID "MUST be at least 8 bytes in length".
constexpr std::size_t kMinDcid = 8;
// RFC 9000 section 17.2: "In QUIC version 1, this value MUST NOT exceed 20 bytes."
constexpr std::size_t kMaxConnectionId = 20;
// 64 as a variable-length integer of two octets, the shortest that holds it (RFC 9000 section 16).
constexpr std::uint16_t kTokenLength = 0x4000 | kFrameSize;

// Long header, fixed bit set (endpoints demultiplexed by first octet must not grease it, RFC 9443 section 2) and
// the Initial's type: 0b00 in version 1, 0b01 in version 2. The four protected bits are not looked at.
bool is_initial(std::uint8_t first, std::uint32_t version) {
  if (version == kQuicVersion1) return (first & 0xf0) == 0xc0;
  if (version == kQuicVersion2) return (first & 0xf0) == 0xd0;
  return false;
}

std::optional<ByteView> read_connection_id(ByteReader& in, std::size_t minimum) {
  const auto length = in.read<std::uint8_t>();
  if (!length || *length < minimum || *length > kMaxConnectionId) return std::nullopt;
  return in.read_bytes(*length);
}

// RFC 9000 section 16.
std::optional<std::uint64_t> read_varint(ByteReader& in) {
  const auto first = in.read<std::uint8_t>();
  if (!first) return std::nullopt;
  const auto more = in.read_bytes((std::size_t{1} << (*first >> 6)) - 1);
  if (!more) return std::nullopt;
  std::uint64_t value = *first & 0x3f;
  for (const std::uint8_t octet : *more) value = (value << 8) | octet;
  return value;
}

}  // namespace

// RFC 9000 figure 15: first octet, version, DCID, SCID, token, length.
std::optional<QuicInitial> parse_quic_initial(ByteView datagram) {
  if (datagram.size() < kMinDatagram) return std::nullopt;
  ByteReader in(datagram);
  const auto first = in.read<std::uint8_t>();
  const auto version = in.read<std::uint32_t>();
  if (!first || !version || !is_initial(*first, *version)) return std::nullopt;
  const auto dcid = read_connection_id(in, kMinDcid);
  if (!dcid) return std::nullopt;
  const auto scid = read_connection_id(in, 0);
  if (!scid || in.read<std::uint16_t>() != kTokenLength) return std::nullopt;
  const auto token = in.read_bytes(kFrameSize);
  if (!token) return std::nullopt;
  const auto length = read_varint(in);
  if (!length || *length > in.rest().size()) return std::nullopt;
  return QuicInitial{*version, *dcid, *scid, token->first<kFrameSize>()};
}

}  // namespace natt::spa
