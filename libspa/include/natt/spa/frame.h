// SPDX-License-Identifier: Apache-2.0
#pragma once

// The SPA frame: 64 octets that look uniformly random to everyone without the keys,
// the same on every carrier (docs/WIRE.md section 1.2). Sealing and opening only;
// replay, clock and budget are the verifier's business. Pure functions.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/spa/device_id.h>
#include <natt/spa/keys.h>
#include <natt/time.h>

namespace natt::spa {

inline constexpr std::size_t kFrameSize = 64;
using Frame = std::array<std::uint8_t, kFrameSize>;
using FrameView = std::span<const std::uint8_t, kFrameSize>;

inline constexpr std::size_t kNonceSize = 12;
using Nonce = std::array<std::uint8_t, kNonceSize>;
// 8 octets that bind a frame to a source address, or random.
using AddressTag = std::array<std::uint8_t, 8>;

// What a frame travels in; covered by P and by the AEAD.
enum class Transport : std::uint8_t {
  kUdp = 1,        // DTLS-shaped datagram, UDP/443
  kDns = 2,        // DNS query, UDP/53
  kTcp = 3,        // TLS record in front of the real ClientHello, TCP/443
  kQuicToken = 4,  // token of a QUIC Initial
};

enum class FrameType : std::uint8_t { kKnock = 1, kClose = 2, kRelayJoin = 3 };

// Bits of FrameBody::flags. Unknown bits are ignored.
inline constexpr std::uint8_t kFlagAddressBound = 0x01;
inline constexpr std::uint8_t kFlagTcpWanted = 0x02;
inline constexpr std::uint8_t kFlagUdpWanted = 0x04;

// BLAKE2b-32 of what the frame belongs to; zero for UDP carriers.
struct ChannelBinding {
  std::array<std::uint8_t, 32> bytes{};

  // Of the whole TLS record that follows the frame's record, header included.
  [[nodiscard]] static ChannelBinding of_record(ByteView record);
  // Of the connection IDs of a QUIC Initial, each with its length octet, so that moving an octet from one to the
  // other changes the binding. Each at most 20 octets.
  [[nodiscard]] static ChannelBinding of_connection_ids(ByteView dcid, ByteView scid);
  friend bool operator==(const ChannelBinding&, const ChannelBinding&) = default;
};

// What the associated data says about where the frame is meant to arrive.
struct FrameContext {
  Transport transport = Transport::kUdp;
  DeviceId verifier;
  std::uint16_t port = 0;  // the verifier's configured service port; 0 for kQuicToken
  ChannelBinding binding;
};

struct FrameBody {
  std::uint8_t version = 1;  // 4 bits
  FrameType type = FrameType::kKnock;
  std::uint8_t flags = 0;
  std::uint16_t key_generation = 0;  // of the device's X25519 pair
  WallTime timestamp;                // 0 to 2^48 - 1 ms
  std::uint16_t knock_id = 0;        // same on every carrier and repeat of one logical knock
  AddressTag tag{};
  friend bool operator==(const FrameBody&, const FrameBody&) = default;
};

// The tag of `source` under a slot's address key.
[[nodiscard]] AddressTag make_address_tag(const Secret<32>& address_key, const IpAddress& source);

// `nonce` must be fresh from a Random for every frame.
[[nodiscard]] Frame seal_frame(const SlotKeys& keys, const MaskKey& mask, const FrameContext& context,
                               const FrameBody& body, const Nonce& nonce);

// H as the frame claims it: what a verifier looks up. Any 64 octets have one.
[[nodiscard]] std::array<std::uint8_t, 8> unmask_hint(FrameView frame, const MaskKey& mask);
// Whether P is right: everything a stranger can be refused by at the price of one SipHash. Constant time.
[[nodiscard]] bool prefilter_matches(FrameView frame, Transport transport,
                                     std::span<const std::uint8_t, 16> prefilter_key);
// Authenticates and decrypts. Says nothing about hint, P, version, type or time. `type` may hold a number that
// FrameType does not name.
[[nodiscard]] std::optional<FrameBody> open_frame(FrameView frame, const FrameContext& context,
                                                  std::span<const std::uint8_t, 32> aead_key);

}  // namespace natt::spa
