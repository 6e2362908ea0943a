// SPDX-License-Identifier: Apache-2.0
#pragma once

// The nouns that signaling messages are made of. Value types; every vector that comes
// out of a parser is within the bound named beside it.

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/identity.h>
#include <natt/nat_behavior.h>
#include <natt/random.h>

namespace natt {

// One tunnel between a client and a gateway, as signaling and relay know it. Chosen by
// the client at random, unique within a site.
struct SessionId {
  std::array<std::uint8_t, 16> octets{};

  [[nodiscard]] static SessionId make(Random& random) { return {random.bytes<16>()}; }
  [[nodiscard]] std::string to_string() const;  // 32 hex digits
  friend auto operator<=>(const SessionId&, const SessionId&) = default;
};

// One TCP connection of a broker. The driver numbers them and never uses a number twice.
struct ChannelId {
  std::uint64_t value = 0;
  friend auto operator<=>(const ChannelId&, const ChannelId&) = default;
};

// Candidates in one message or session (DESIGN section 5). What an end probes of them is its own,
// smaller number (natt/candidate.h).
inline constexpr std::size_t kMaxSignalCandidates = 32;

// What is known about the UDP of one end, for the other's race and its relay reason.
struct UdpReach {
  NatBehavior nat;
  bool stun_answered = false;  // by any broker
  friend bool operator==(const UdpReach&, const UdpReach&) = default;
};

struct GatewayLoad {
  std::uint32_t sessions = 0;
  std::uint32_t capacity = 0;  // 0: no limit set
  friend auto operator<=>(const GatewayLoad&, const GatewayLoad&) = default;
};

enum class RelayTransport : std::uint8_t { kUdp = 1, kTcp = 2 };

// Why an offer or a relay request was turned down.
enum class RefusalReason : std::uint8_t {
  kNotEntitled = 1,     // the gateway's entitlements list nothing for this client
  kGatewayOffline = 2,  // the gateway holds no channel to this broker
  kUnknownGateway = 3,  // the site has no such gateway
  kTooManySessions = 4,
  kRateLimited = 5,  // one offer per second and client
  kDuplicate = 6,    // the session id was used before
  kStale = 7,        // time or certificate of the offer is out of its window
  kDraining = 8,
  kQuota = 9,     // a relay quota of client, site or broker
  kNoRelay = 10,  // this broker relays nothing
  kInvalid = 11,  // the signature or the contents do not verify
};
[[nodiscard]] std::string_view to_string(RefusalReason reason);

// About signaling and relay. A tunnel that is alive without them stays, except for kRevoked.
enum class SessionEndReason : std::uint8_t {
  kClosed = 1,    // an end closed it
  kPeerGone = 2,  // the other end's channel did not come back in time
  kRevoked = 3,   // the roster no longer lists the other end
  kBrokerDrain = 4,
};
[[nodiscard]] std::string_view to_string(SessionEndReason reason);

}  // namespace natt

template <>
struct std::hash<natt::SessionId> {
  // The id is random, chosen by an authenticated client and looked up within its site.
  std::size_t operator()(const natt::SessionId& id) const noexcept {
    std::size_t value = 0;
    std::memcpy(&value, id.octets.data(), sizeof(value));
    return value;
  }
};
template <>
struct std::hash<natt::ChannelId> {
  std::size_t operator()(natt::ChannelId id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
