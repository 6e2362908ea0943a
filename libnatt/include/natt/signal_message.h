// SPDX-License-Identifier: Apache-2.0
#pragma once

// The signaling messages (docs/WIRE.md section 3; schema: src/signal/proto/signal.proto).
// One struct per message, all in one variant. On the wire each is a 4-octet length and a
// protobuf body; unknown messages and fields are ignored, everything else that is not
// exactly right ends the channel.
//
// C client, G gateway, B broker: the comment behind each struct says who sends it to whom.
// Value types. The same structs are the commands and the events of SignalClient.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/candidate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/race.h>
#include <natt/relay_grant.h>
#include <natt/roster.h>
#include <natt/signal_types.h>
#include <natt/stun_credential.h>
#include <natt/time.h>

namespace natt {

inline constexpr std::uint32_t kSignalVersion = 1;
// Bits of `features`. A side uses a feature only when both announced it.
inline constexpr std::uint64_t kFeatureRelayUdp = 1u << 0;
inline constexpr std::uint64_t kFeatureRelayTcp = 1u << 1;
inline constexpr std::uint64_t kFeatureKeyRenewal = 1u << 2;

// Body of one message, without its length (DESIGN section 5).
inline constexpr std::size_t kMaxSignalMessage = 64 * 1024;
inline constexpr std::size_t kMaxGatewayAddresses = 16;
// Addresses in `vouched`, and STUN servers of one broker.
inline constexpr std::size_t kMaxVouched = 8;
// Gateways in one directory message (of at most 600 octets each); a larger site needs several.
inline constexpr std::size_t kMaxDirectoryEntries = 64;

struct SignalHello {  // C,G -> B, the first message
  std::uint32_t version = kSignalVersion;
  std::uint64_t features = 0;
  std::uint64_t boot_id = 0;        // random per start of the program
  std::uint64_t roster_number = 0;  // what it holds; the broker pushes a newer one
  std::string software;             // at most 64 octets, for the operator's log
};
struct SignalWelcome {  // B -> C,G, the first message
  std::uint32_t version = kSignalVersion;
  std::uint64_t features = 0;
  std::uint64_t boot_id = 0;
  WallTime broker_time;
  SocketAddress observed;  // the peer's TCP source as the broker sees it
  std::uint16_t key_generation = 0;  // the newest of the peer's SPA key in the broker's roster; 0 does not say
};

struct GatewayRegistration {             // G -> B, after Welcome and whenever something in it changes
  std::vector<SocketAddress> addresses;  // at most kMaxGatewayAddresses
  UdpReach udp;
  GatewayLoad load;
  std::uint64_t boot_id = 0;
  friend bool operator==(const GatewayRegistration&, const GatewayRegistration&) = default;
};
struct GatewayEntry {
  Identity gateway;
  bool online = false;
  GatewayRegistration registration;  // as last heard; empty while offline
  friend bool operator==(const GatewayEntry&, const GatewayEntry&) = default;
};
struct GatewayDirectory {  // B -> C: after Welcome complete, later only what changed
  bool complete = false;   // true: forget every gateway that is not listed
  std::vector<GatewayEntry> entries;
};

struct OfferMessage {  // C -> B
  SessionId session;
  Identity gateway;
  ByteBuffer sealed_offer;  // natt/session_offer.h
};
struct ForwardedOffer {  // B -> G. What the broker says here is a hint; the sealed offer is the proof
  SessionId session;
  Identity client;
  // PeerVouch::seen: whence the broker saw the client's authenticated STUN of the last 60 s.
  std::vector<IpAddress> vouched;
  ByteBuffer sealed_offer;
};
struct AnswerMessage {  // G -> B -> C: acceptance and refusal alike
  SessionId session;
  std::vector<IpAddress> vouched;  // of the gateway; the broker writes it, whatever the gateway sent
  ByteBuffer sealed_answer;        // natt/session_offer.h
};
struct OfferRejection {  // B -> C: the broker's own no (unsigned: it can only deny)
  SessionId session;
  RefusalReason reason = RefusalReason::kInvalid;
};
struct CandidateBatch {  // C,G -> B -> the other end of the session
  SessionId session;
  std::vector<Candidate> candidates;  // at most kMaxSignalCandidates; `base` is not told
  bool last = false;                  // no more will come
  std::vector<IpAddress> vouched;     // of the sender; the broker writes it
};
struct PunchStart {  // B -> C,G of the session, when the answer passes through
  SessionId session;
  WallTime start;  // broker time; each end subtracts its clock offset
};
struct SessionEnd {  // C,G -> B -> the other end; or B -> C,G
  SessionId session;
  SessionEndReason reason = SessionEndReason::kClosed;
};

struct SessionReport {  // C -> B: for the broker's status; the broker acts on nothing in it
  SessionId session;
  Identity gateway;
  ConnectionType type = ConnectionType::kDirect;
  std::optional<RelayReason> reason;  // with kRelay only
  bool ended = false;
};

struct RelayRequest {  // C,G -> B
  SessionId session;
  RelayTransport transport = RelayTransport::kUdp;
};
struct RelayGrantMessage {  // B -> C,G: one leg each
  SessionId session;
  RelayTransport transport = RelayTransport::kUdp;
  SocketAddress relay;  // where this leg sends to
  // UDP: for this end's RelayLeg. The session id in it is the relay's own.
  RelayGrant grant;
  // TCP: the single-use token of this end's join (natt/spa/knocker.h); zero for UDP.
  std::array<std::uint8_t, 16> pairing_token{};
};
struct RelayRefusal {  // B -> C,G
  SessionId session;
  RelayTransport transport = RelayTransport::kUdp;
  RefusalReason reason = RefusalReason::kNoRelay;
};
struct RelayRenewal {  // C,G -> B: answered with a new grant or a refusal
  SessionId session;
  RelayTransport transport = RelayTransport::kUdp;
  ByteBuffer sealed;
};

struct StunCredentialsRequest {};  // C,G -> B
struct StunCredentials {           // B -> C,G
  StunCredential credential;
  std::chrono::milliseconds lifetime{};
  std::vector<SocketAddress> servers;  // primary first, then the second port or address (at most 8)
};

struct RosterChunk {  // B -> C,G: a piece of one signed document, in order
  std::uint64_t number = 0;
  RosterView view = RosterView::kClient;
  std::uint32_t offset = 0;
  std::uint32_t total = 0;
  ByteBuffer bytes;
};
struct RosterAck {  // C,G -> B: verified and persisted
  std::uint64_t number = 0;
};
struct KeyRenewal {    // both directions, for `nattctl renew`; opaque to signaling
  ByteBuffer payload;  // at most 32 KiB
};
struct DrainNotice {  // B -> C,G: go elsewhere within this time
  std::chrono::milliseconds within{};
};
struct PeerAbsent {  // B -> G: the client's channel broke off; its tunnels may be dead
  Identity client;
};
struct Ping {  // C,G -> B
  std::uint64_t id = 0;
};
struct Pong {  // B -> C,G
  std::uint64_t id = 0;
  WallTime broker_time;
};

using SignalMessage =
    std::variant<SignalHello, SignalWelcome, GatewayRegistration, GatewayDirectory, OfferMessage, ForwardedOffer,
                 AnswerMessage, OfferRejection, CandidateBatch, PunchStart, SessionEnd, RelayRequest, RelayGrantMessage,
                 RelayRefusal, RelayRenewal, StunCredentialsRequest, StunCredentials, RosterChunk, RosterAck,
                 KeyRenewal, DrainNotice, Ping, Pong, SessionReport,
                 PeerAbsent>;

// Stable lower-case name for logs: "hello", "offer", "relay-grant".
[[nodiscard]] std::string_view name_of(const SignalMessage& message);

// The body, without length. kLimit when a bound is exceeded: a bug of the caller.
[[nodiscard]] Result<ByteBuffer> serialize_signal(const SignalMessage& message);
// Nothing for a message this version does not know. kMalformed for anything that is not exactly right.
[[nodiscard]] Result<std::optional<SignalMessage>> parse_signal(ByteView body);

}  // namespace natt
