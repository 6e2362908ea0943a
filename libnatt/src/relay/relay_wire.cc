// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_wire.h>

#include <algorithm>

#include "src/relay/relay_mac.h"

// docs/WIRE.md section 6. After the header of 14 octets:
//
//   bind       | counter 8 | time 8 | grant 1..320 | mac 16 |
//   challenge  | counter 8 | cookie 8 | mac 16 |
//   echo       | counter 8 | cookie 8 | mac 16 |
//   bound      | counter 8 | flags 1 | mac 16 |
//   keepalive  | counter 8 | time 8 | mac 16 |
//   close      | counter 8 | time 8 | mac 16 |
//   closed     | reason 1 | mac 16 |
//
// A keepalive is as long as the challenge that it may cause.

namespace natt {
namespace {

constexpr std::uint8_t kPeerBoundFlag = 0x01;
constexpr std::uint8_t kLastKind = static_cast<std::uint8_t>(RelayKind::kClosed);

bool has_counter(RelayKind kind) { return kind != RelayKind::kData && kind != RelayKind::kClosed; }
bool has_time(RelayKind kind) {
  return kind == RelayKind::kBind || kind == RelayKind::kKeepalive || kind == RelayKind::kClose;
}
bool has_cookie(RelayKind kind) { return kind == RelayKind::kChallenge || kind == RelayKind::kEcho; }

std::optional<WallTime> parse_time(std::uint64_t milliseconds) {
  // Year 10000; keeps all arithmetic on it far from overflow.
  constexpr std::uint64_t kLatest = 253'402'300'800'000;
  if (milliseconds > kLatest) return std::nullopt;
  return WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)));
}

// Each reads its field when the kind has it; false when the octets are missing or impossible.
bool read_counter(ByteReader& reader, RelayControl& control) {
  if (!has_counter(control.header.kind)) return true;
  const auto counter = reader.read<std::uint64_t>();
  control.counter = counter.value_or(0);
  return counter.has_value();
}

bool read_time(ByteReader& reader, RelayControl& control) {
  if (!has_time(control.header.kind)) return true;
  const auto octets = reader.read<std::uint64_t>();
  const auto time = octets ? parse_time(*octets) : std::nullopt;
  control.time = time.value_or(WallTime{});
  return time.has_value();
}

bool read_cookie(ByteReader& reader, RelayControl& control) {
  if (!has_cookie(control.header.kind)) return true;
  const auto cookie = reader.read_bytes(control.cookie.size());
  if (cookie) std::copy(cookie->begin(), cookie->end(), control.cookie.begin());
  return cookie.has_value();
}

bool read_grant(ByteReader& reader, RelayControl& control) {
  if (control.header.kind != RelayKind::kBind) return true;
  const std::size_t rest = reader.rest().size();
  if (rest <= kRelayMacSize || rest - kRelayMacSize > kRelayGrantMaximum) return false;
  control.grant = *reader.read_bytes(rest - kRelayMacSize);
  return true;
}

bool read_flags(ByteReader& reader, RelayControl& control) {
  if (control.header.kind != RelayKind::kBound) return true;
  const auto flags = reader.read<std::uint8_t>();
  control.peer_bound = (flags.value_or(0) & kPeerBoundFlag) != 0;  // the other bits are ignored
  return flags.has_value();
}

bool read_reason(ByteReader& reader, RelayControl& control) {
  if (control.header.kind != RelayKind::kClosed) return true;
  const auto reason = reader.read<std::uint8_t>();
  control.reason = reason.value_or(0);
  return reason.has_value();
}

void write_fields(ByteWriter& writer, const RelayControl& control) {
  const RelayKind kind = control.header.kind;
  if (has_counter(kind)) writer.write(control.counter);
  if (has_time(kind)) writer.write(static_cast<std::uint64_t>(control.time.time_since_epoch().count()));
  if (has_cookie(kind)) writer.write_bytes(control.cookie);
  if (kind == RelayKind::kBind) writer.write_bytes(control.grant);
  if (kind == RelayKind::kBound) writer.write(control.peer_bound ? kPeerBoundFlag : std::uint8_t{0});
  if (kind == RelayKind::kClosed) writer.write(control.reason);
}

}  // namespace

std::optional<RelayHeader> parse_relay_header(ByteView datagram) {
  if (datagram.size() < kRelayHeaderSize || datagram[0] != kRelayFirstByte || datagram[1] > kLastKind) {
    return std::nullopt;
  }
  return RelayHeader{static_cast<RelayKind>(datagram[1]),
                     {load_be<std::uint32_t>(datagram.data() + 2), load_be<std::uint64_t>(datagram.data() + 6)}};
}

std::optional<RelayControl> parse_relay_control(ByteView datagram) {
  const auto header = parse_relay_header(datagram);
  if (!header || header->kind == RelayKind::kData) return std::nullopt;
  RelayControl control;
  control.header = *header;
  ByteReader reader(datagram.subspan(kRelayHeaderSize));
  const bool complete = read_counter(reader, control) && read_time(reader, control) && read_cookie(reader, control) &&
                        read_grant(reader, control) && read_flags(reader, control) && read_reason(reader, control);
  if (!complete || reader.rest().size() != kRelayMacSize) return std::nullopt;
  return control;
}

bool verify_relay_frame(ByteView datagram, const RelayKey& key) {
  if (datagram.size() < kRelayHeaderSize + kRelayMacSize) return false;
  const auto expected = relay::mac(key, {datagram.first(datagram.size() - kRelayMacSize)});
  return constant_time_equal(datagram.last(kRelayMacSize), ByteView(expected).first(kRelayMacSize));
}

ByteBuffer serialize_relay_control(const RelayControl& control, const RelayKey& key) {
  ByteBuffer frame;
  frame.reserve(kRelayHeaderSize + 16 + control.grant.size() + kRelayMacSize);
  ByteWriter writer(frame);
  writer.write_bytes(make_relay_header(control.header.kind, control.header.leg));
  write_fields(writer, control);
  const auto tag = relay::mac(key, {frame});
  writer.write_bytes(ByteView(tag).first(kRelayMacSize));
  return frame;
}

std::string_view to_string(RelayCloseReason reason) {
  switch (reason) {
    case RelayCloseReason::kPeerClosed: return "peer-closed";
    case RelayCloseReason::kExpired: return "expired";
    case RelayCloseReason::kRevoked: return "revoked";
    case RelayCloseReason::kShutdown: return "shutdown";
  }
  return "unknown";
}

}  // namespace natt
