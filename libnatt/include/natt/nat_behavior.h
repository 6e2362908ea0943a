// SPDX-License-Identifier: Apache-2.0
#pragma once

// What kind of NAT stands in front of a socket, in the words of RFC 4787, and what
// two such NATs mean for hole punching. Value types and pure functions.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <natt/address.h>

namespace natt {

// RFC 4787 section 4.1: when does another destination get another mapping. The numbers are used on
// the wire (signaling).
enum class NatMapping : std::uint8_t {
  kUnknown = 0,
  kNone = 1,  // no NAT: the mapped address is our own
  kEndpointIndependent = 2,
  kAddressDependent = 3,
  kAddressAndPortDependent = 4,
};
// RFC 4787 section 5: from whom does a mapping let packets in.
enum class NatFiltering : std::uint8_t {
  kUnknown = 0,
  kNone = 1,
  kEndpointIndependent = 2,
  kAddressDependent = 3,
  kAddressAndPortDependent = 4,
};
[[nodiscard]] std::string_view to_string(NatMapping mapping);
[[nodiscard]] std::string_view to_string(NatFiltering filtering);

struct NatBehavior {
  NatMapping mapping = NatMapping::kUnknown;
  NatFiltering filtering = NatFiltering::kUnknown;
  friend bool operator==(const NatBehavior&, const NatBehavior&) = default;
};

// Whether plain punching (no port prediction) can connect two ends. Unknown counts as the friendliest
// kind, so "impossible" is only said when it is known.
enum class PunchOutlook : std::uint8_t { kPossible, kHardNatBoth, kHardNatOne };
[[nodiscard]] PunchOutlook punch_outlook(const NatBehavior& a, const NatBehavior& b);
[[nodiscard]] std::string_view to_string(PunchOutlook outlook);  // "possible", "hard-nat-both", "hard-nat-one"

// Tells the mapping behaviour from what several servers say about one socket: the STUN clients of one
// socket report here. Bounded by the number of servers (kMaxServers; further ones are ignored).
class NatMappingObserver {
 public:
  static constexpr std::size_t kMaxServers = 16;

  // `own` are the socket's own addresses (interface IPs with the socket's port).
  void set_own_addresses(std::vector<SocketAddress> own) { own_ = std::move(own); }
  void observe(const SocketAddress& server, const SocketAddress& mapped);
  void forget(const SocketAddress& server);
  // kUnknown until two servers answered, unless the mapped address is our own. Servers that differ only
  // in port tell address-dependent from address-and-port-dependent mapping.
  [[nodiscard]] NatMapping mapping() const;

 private:
  struct Observation {
    SocketAddress server;
    SocketAddress mapped;
  };
  std::vector<Observation> observations_;
  std::vector<SocketAddress> own_;
};

}  // namespace natt
