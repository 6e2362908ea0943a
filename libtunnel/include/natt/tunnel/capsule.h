// SPDX-License-Identifier: Apache-2.0
#pragma once

// Capsules (RFC 9297 section 3.2) that stand on the request stream of CONNECT-UDP and
// CONNECT-IP: DATAGRAM, and ADDRESS_ASSIGN, ADDRESS_REQUEST, ROUTE_ADVERTISEMENT of RFC 9484
// section 4.7. Value types and pure functions; input is peer-supplied.

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>

namespace natt::tunnel {

// RFC 9484 section 4.7.1. In `prefix`, the length counts over the canonical 128 bits.
struct AssignedAddress {
  // 0 unless this answers an ADDRESS_REQUEST with that id.
  std::uint64_t request_id = 0;
  IpPrefix prefix;
  friend bool operator==(const AssignedAddress&, const AssignedAddress&) = default;
};

// Every address the peer may use; replaces an earlier one as a whole. May be empty.
struct AddressAssign {
  std::vector<AssignedAddress> addresses;
  friend bool operator==(const AddressAssign&, const AddressAssign&) = default;
};

// RFC 9484 section 4.7.2: at least one entry, each with its own id that is not 0; an
// unspecified address asks for any.
struct AddressRequest {
  std::vector<AssignedAddress> addresses;
  friend bool operator==(const AddressRequest&, const AddressRequest&) = default;
};

// RFC 9484 section 4.7.3: an inclusive range; `protocol` 0 stands for all of them.
struct IpRange {
  IpAddress first;
  IpAddress last;
  std::uint8_t protocol = 0;
  friend bool operator==(const IpRange&, const IpRange&) = default;
};

// Sorted as the RFC wants it (IPv4 first, then by protocol, then by address, no overlap);
// replaces an earlier one as a whole.
struct RouteAdvertisement {
  std::vector<IpRange> ranges;
  friend bool operator==(const RouteAdvertisement&, const RouteAdvertisement&) = default;
};

using ControlCapsule = std::variant<AddressAssign, AddressRequest, RouteAdvertisement>;

// Entries of one capsule; a tunnel of this project uses one or two addresses and at most a
// few dozen routes. More is refused, which ends the stream.
inline constexpr std::size_t kMaxCapsuleEntries = 256;
// Largest control capsule value that is taken or built: 256 route ranges of 34 octets each.
inline constexpr std::size_t kMaxControlCapsule = kMaxCapsuleEntries * 34;

enum class CapsuleType : std::uint64_t {
  kDatagram = 0x00,            // RFC 9297 section 5.4
  kAddressAssign = 0x01,       // RFC 9484 section 11.4
  kAddressRequest = 0x02,
  kRouteAdvertisement = 0x03,
};

// Type, length and value. False, and nothing appended, when the capsule breaks its own rules
// (order of routes, request ids) or a limit above.
[[nodiscard]] bool serialize_capsule(const ControlCapsule& capsule, ByteBuffer& out);
// The value of a capsule of that type, taken as a whole: trailing bytes make it malformed.
[[nodiscard]] std::optional<ControlCapsule> parse_capsule_value(CapsuleType type, ByteView value);
// Sorts and checks; nothing when two ranges of one protocol overlap.
[[nodiscard]] std::optional<RouteAdvertisement> make_route_advertisement(std::vector<IpRange> ranges);
// The range that a prefix covers, for all protocols.
[[nodiscard]] IpRange range_of(const IpPrefix& prefix);

}  // namespace natt::tunnel
