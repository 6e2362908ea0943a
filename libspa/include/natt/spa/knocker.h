// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sending side: makes the knocks of one device for one verifier. Every frame has
// its own nonce; frames of one logical knock, on several carriers or repeated, share a
// KnockId and are charged once. Does no I/O and keeps no clock.
//
//   Knocker knocker({.device = me, .verifier = broker, .port = 443, .mask = mask, .key_generation = 1}, *pair, random);
//   const KnockId id = knocker.next_knock_id();
//   send_udp(knocker.make_udp_knock(wall_now, id));
//   send_udp_53(knocker.make_dns_knock(wall_now, id));
//   send_tcp(knocker.make_tcp_hello(wall_now, id, client_hello_record), client_hello_record);

#include <chrono>
#include <cstdint>
#include <optional>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/identity.h>
#include <natt/random.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa/frame.h>
#include <natt/spa/keys.h>
#include <natt/spa/locked_memory.h>
#include <natt/spa/tls_hello_carrier.h>
#include <natt/time.h>

namespace natt::spa {

enum class KnockId : std::uint16_t {};

struct KnockerOptions {
  Identity device;
  Identity verifier;
  std::uint16_t port = 443;          // the verifier's configured service port, whatever port a NAT makes of it
  MaskKey mask;                      // the verifier's, from the roster
  std::uint16_t key_generation = 0;  // of the device's pair that the PairKey was derived from
  std::uint8_t wanted = kFlagUdpWanted | kFlagTcpWanted;
  DnsSuffix dns_suffix;  // as the verifier has it
};

// A relay join in one piece: record 1 and record 2.
struct RelayJoinHello {
  ByteBuffer record1;
  ByteBuffer record2;
};

// Resource class. `random` outlives it.
class Knocker {
 public:
  Knocker(const KnockerOptions& options, const PairKey& pair, Random& random);
  Knocker(const Knocker&) = delete;
  Knocker& operator=(const Knocker&) = delete;

  // Starts a logical knock. Consecutive numbers from a random start: the verifier charges each fresh one.
  [[nodiscard]] KnockId next_knock_id();

  // A whole datagram (natt/spa/udp_carrier.h). `wall_now` here and below is this device's own clock, uncorrected.
  [[nodiscard]] ByteBuffer make_udp_knock(WallTime wall_now, KnockId id, FrameType type = FrameType::kKnock);
  // The same for the verifier's DNS port (natt/spa/dns_carrier.h).
  [[nodiscard]] ByteBuffer make_dns_knock(WallTime wall_now, KnockId id, FrameType type = FrameType::kKnock);
  // Record 1, to be sent in front of `client_hello_record`: the TLS library's first record, whole, with header,
  // at most TlsHelloReader::kMaxRecord2 octets.
  [[nodiscard]] ByteBuffer make_tcp_hello(WallTime wall_now, KnockId id, ByteView client_hello_record);
  // Both records of a relay leg's first flight.
  [[nodiscard]] RelayJoinHello make_relay_join(WallTime wall_now, KnockId id, const PairingToken& token);
  // The token for every Initial packet of one QUIC connection. The connection IDs are those of the client's first
  // Initial, 8 to 20 and 0 to 20 octets.
  [[nodiscard]] Frame make_quic_token(WallTime wall_now, KnockId id, ByteView dcid, ByteView scid);

  // From the next frame on: another pair of this device or of the verifier. Knock ids go on.
  void set_pair(const PairKey& pair, std::uint16_t key_generation);
  // Verifier's clock minus this device's, learnt inside an authenticated session.
  void set_clock_offset(std::chrono::milliseconds offset) { clock_offset_ = offset; }
  // The address that the verifier will see as source of UDP and TCP carriers, when known for sure (no NAT, or
  // learnt from authenticated STUN). Frames are then bound to it: a thief cannot use them from elsewhere.
  void set_public_address(std::optional<IpAddress> address) { public_address_ = address; }

 private:
  [[nodiscard]] Frame seal(WallTime wall_now, KnockId id, FrameType type, Transport transport,
                           const ChannelBinding& binding);

  DeviceId verifier_;
  std::uint16_t port_;
  MaskKey mask_;
  std::uint16_t key_generation_;
  std::uint8_t wanted_;
  DnsSuffix dns_suffix_;
  LockedMemory pair_;
  Random& random_;
  std::uint16_t next_id_;
  std::chrono::milliseconds clock_offset_{0};
  std::optional<IpAddress> public_address_;
};

}  // namespace natt::spa
