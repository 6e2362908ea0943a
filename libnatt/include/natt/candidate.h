// SPDX-License-Identifier: Apache-2.0
#pragma once

// A transport address at which a device may be reached, and how it was learned
// (RFC 8445 section 5.1). Value type. Everything a peer says about its candidates is
// a claim: see natt/candidate_policy.h.

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

#include <natt/address.h>

namespace natt {

// The numbers are used on the wire (signaling).
enum class CandidateType : std::uint8_t {
  kHost = 1,             // an address of an interface
  kServerReflexive = 2,  // as a broker's STUN saw the socket
  kPeerReflexive = 3,    // as a connectivity check came from it
  kMapped = 4,           // opened by PCP, NAT-PMP or UPnP-IGD, or configured by the operator
  kRelay = 5,            // a broker's relay
};

[[nodiscard]] std::string_view to_string(CandidateType type);  // "host", "srflx", "prflx", "mapped", "relay"
[[nodiscard]] std::optional<CandidateType> parse_candidate_type(std::string_view text);

struct Candidate {
  SocketAddress address;
  CandidateType type = CandidateType::kHost;
  // For srflx and mapped: the address of ours behind it; unspecified when not known or not told.
  SocketAddress base;
  friend auto operator<=>(const Candidate&, const Candidate&) = default;
};

// What a path is to the people who look at it. Ordered: a smaller one is preferred (DESIGN section 7).
enum class PathKind : std::uint8_t {
  kLan = 0,      // private addresses on both sides, no NAT between
  kDirect = 1,   // a public, mapped or configured address: nothing had to be punched
  kPunched = 2,  // through a mapping that the checks opened
  kRelay = 3,
};
[[nodiscard]] std::string_view to_string(PathKind kind);  // "lan", "direct", "punched", "relay"
// Of a path to a remote candidate.
[[nodiscard]] PathKind path_kind(const Candidate& remote);

// RFC 8445 section 5.1.2.1: 2^24 * type preference + 2^8 * local preference + (256 - component). Type
// preferences follow LAN > direct > punched > relay, IPv6 before IPv4 within one.
[[nodiscard]] std::uint32_t candidate_priority(const Candidate& candidate);
// "Whatever signaling says, each end caps itself" (DESIGN section 7).
inline constexpr std::size_t kMaxCandidates = 16;

}  // namespace natt
