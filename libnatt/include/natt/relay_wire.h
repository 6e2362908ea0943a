// SPDX-License-Identifier: Apache-2.0
#pragma once

// Relay frames (docs/WIRE.md section 6). Every frame starts with
//
//   0x0c | kind 1 | leg id 12 = slot 4, tag 8                   14 octets
//
// The leg id names one end's half of a session at the broker; the two halves have
// unrelated ids, so that observers at both ends cannot match them. A data frame is
// this header and an untouched tunnel packet. Control frames end in a MAC under the
// leg's key over everything before it:
//
//   leg    -> broker  bind       grant, counter, time     leg id zero; opens or moves the leg, renews the grant
//   broker -> leg     challenge  counter, cookie          to a source the leg is not bound to
//   leg    -> broker  echo       counter, cookie          proves the source; the leg is bound to it now
//   broker -> leg     bound      counter, flags           answers echo, keepalive, and bind from the bound source
//   leg    -> broker  keepalive  counter, time
//   leg    -> broker  close      counter, time
//   broker -> leg     closed     reason
//
// No answer is longer than the frame that caused it, and nothing answers a frame
// that fails its MAC. Pure functions and value types.

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/demux.h>
#include <natt/secret.h>
#include <natt/time.h>

namespace natt {

enum class RelayKind : std::uint8_t {
  kData = 0,
  kBind = 1,
  kChallenge = 2,
  kEcho = 3,
  kBound = 4,
  kKeepalive = 5,
  kClose = 6,
  kClosed = 7,
};

// Who is at the far end of a leg.
enum class RelaySide : std::uint8_t { kClient = 0, kGateway = 1 };

struct RelayLegId {
  std::uint32_t slot = 0;
  std::uint64_t tag = 0;
  friend auto operator<=>(const RelayLegId&, const RelayLegId&) = default;
};

using RelayKey = Secret<32>;

inline constexpr std::size_t kRelayHeaderSize = 14;
inline constexpr std::size_t kRelayMacSize = 16;
// Two names of 63 octets and a site of 63, and the fixed fields (src/relay/relay_grant.cc).
inline constexpr std::size_t kRelayGrantMaximum = 320;

[[nodiscard]] constexpr std::array<std::uint8_t, kRelayHeaderSize> make_relay_header(RelayKind kind, RelayLegId id) {
  std::array<std::uint8_t, kRelayHeaderSize> header{};
  header[0] = kRelayFirstByte;
  header[1] = static_cast<std::uint8_t>(kind);
  store_be(header.data() + 2, id.slot);
  store_be(header.data() + 6, id.tag);
  return header;
}

struct RelayHeader {
  RelayKind kind = RelayKind::kData;
  RelayLegId leg;
};
// Absent when too short, another protocol, or an unknown kind.
[[nodiscard]] std::optional<RelayHeader> parse_relay_header(ByteView datagram);

// A parsed control frame. Unauthenticated until verify_relay_frame() has said yes.
// Which fields are set depends on the kind; views live as long as the datagram.
struct RelayControl {
  RelayHeader header;
  std::uint64_t counter = 0;             // all but closed
  WallTime time{};                       // bind, keepalive, close
  std::array<std::uint8_t, 8> cookie{};  // challenge, echo
  ByteView grant;                        // bind
  bool peer_bound = false;               // bound
  std::uint8_t reason = 0;               // closed: RelayCloseReason
};

enum class RelayCloseReason : std::uint8_t { kPeerClosed = 1, kExpired = 2, kRevoked = 3, kShutdown = 4 };
// "peer-closed", "expired", "revoked", "shutdown".
[[nodiscard]] std::string_view to_string(RelayCloseReason reason);

// Exact lengths only; absent for data frames and anything malformed.
[[nodiscard]] std::optional<RelayControl> parse_relay_control(ByteView datagram);
// Constant time in the contents. `datagram` is a whole control frame.
[[nodiscard]] bool verify_relay_frame(ByteView datagram, const RelayKey& key);
// Serializes and appends the MAC.
[[nodiscard]] ByteBuffer serialize_relay_control(const RelayControl& control, const RelayKey& key);

}  // namespace natt
