// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/capsule.h>

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

// RFC 9484 section 4.7.1:
//   Request ID (i), IP Version (8) = 4 or 6, IP Address (32 or 128), IP Prefix Length (8)
// section 4.7.3:
//   IP Version (8), Start IP Address (32 or 128), End IP Address (32 or 128), IP Protocol (8)

constexpr std::uint8_t kV4 = 4;
constexpr std::uint8_t kV6 = 6;
constexpr std::uint8_t kMappedBits = 96;  // IPv4 prefixes count over the canonical 128 bits in IpPrefix

void write_address(ByteBuffer& out, const IpAddress& address, bool v4) {
  const auto& octets = address.octets();
  out.insert(out.end(), octets.begin() + (v4 ? 12 : 0), octets.end());
}

std::optional<IpAddress> read_address(ByteReader& in, std::uint8_t version) {
  if (version == kV4) {
    const auto octets = in.read_bytes(4);
    if (!octets) return std::nullopt;
    return IpAddress::v4({(*octets)[0], (*octets)[1], (*octets)[2], (*octets)[3]});
  }
  const auto octets = in.read_bytes(16);
  if (version != kV6 || !octets) return std::nullopt;
  std::array<std::uint8_t, 16> copy{};
  std::copy(octets->begin(), octets->end(), copy.begin());
  const IpAddress address = IpAddress::v6(copy);
  if (address.is_v4()) return std::nullopt;  // v4-mapped: would slip past rules for IPv4 (DESIGN section 9)
  return address;
}

// "the lower bits of the IP Address field that are not covered by the prefix length MUST be
// all-zero" does not stand in the RFC for assigned addresses: a host address with its on-link
// prefix length is usual, so only the length is checked.
std::optional<AssignedAddress> read_assigned(ByteReader& in) {
  const auto id = read_varint(in);
  const auto version = in.read<std::uint8_t>();
  if (!id || !version) return std::nullopt;
  const auto address = read_address(in, *version);
  const auto length = in.read<std::uint8_t>();
  if (!address || !length) return std::nullopt;
  const bool v4 = *version == kV4;
  if (*length > (v4 ? 32 : 128)) return std::nullopt;
  return AssignedAddress{*id, {*address, static_cast<std::uint8_t>(*length + (v4 ? kMappedBits : 0))}};
}

// An unspecified IPv4 address (0.0.0.0) is v4-mapped in canonical form, so is_v4() tells the family.
bool write_assigned(ByteBuffer& out, const AssignedAddress& assigned) {
  const bool v4 = assigned.prefix.base.is_v4();
  if (assigned.request_id > kMaxVarint || assigned.prefix.length > 128) return false;
  if (v4 && assigned.prefix.length < kMappedBits) return false;
  write_varint(out, assigned.request_id);
  out.push_back(v4 ? kV4 : kV6);
  write_address(out, assigned.prefix.base, v4);
  out.push_back(static_cast<std::uint8_t>(assigned.prefix.length - (v4 ? kMappedBits : 0)));
  return true;
}

std::optional<IpRange> read_range(ByteReader& in) {
  const auto version = in.read<std::uint8_t>();
  if (!version) return std::nullopt;
  const auto first = read_address(in, *version);
  if (!first) return std::nullopt;
  const auto last = read_address(in, *version);
  const auto protocol = in.read<std::uint8_t>();
  if (!last || !protocol) return std::nullopt;
  return IpRange{*first, *last, *protocol};
}

bool write_range(ByteBuffer& out, const IpRange& range) {
  const bool v4 = range.first.is_v4();
  out.push_back(v4 ? kV4 : kV6);
  write_address(out, range.first, v4);
  write_address(out, range.last, v4);
  out.push_back(range.protocol);
  return true;
}

// "IP Version, IP Protocol, Start IP Address" is the order of section 4.7.3.
auto order_of(const IpRange& range) {
  return std::make_tuple(!range.first.is_v4(), range.protocol, range.first);
}

bool range_is_sane(const IpRange& range) {
  return range.first.is_v4() == range.last.is_v4() && range.first <= range.last;
}

bool routes_are_valid(const std::vector<IpRange>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (!range_is_sane(ranges[i])) return false;
    if (i == 0) continue;
    const IpRange& before = ranges[i - 1];
    if (order_of(before) >= order_of(ranges[i])) return false;
    const bool same_group = before.first.is_v4() == ranges[i].first.is_v4() && before.protocol == ranges[i].protocol;
    if (same_group && before.last >= ranges[i].first) return false;
  }
  return true;
}

// Section 4.7.2: "MUST contain at least one", "Request ID ... MUST NOT be zero"; ids are fresh each.
bool request_is_valid(const std::vector<AssignedAddress>& addresses) {
  std::unordered_set<std::uint64_t> ids;
  for (const AssignedAddress& address : addresses) {
    if (address.request_id == 0 || !ids.insert(address.request_id).second) return false;
  }
  return !addresses.empty();
}

template <typename T>
bool read_all(ByteView value, std::vector<T>& out, std::optional<T> (*read)(ByteReader&)) {
  ByteReader in(value);
  while (!in.empty()) {
    auto entry = read(in);
    if (!entry || out.size() == kMaxCapsuleEntries) return false;
    out.push_back(std::move(*entry));
  }
  return true;
}

template <typename T>
bool write_all(ByteBuffer& value, const std::vector<T>& entries, bool (*write)(ByteBuffer&, const T&)) {
  if (entries.size() > kMaxCapsuleEntries) return false;
  return std::all_of(entries.begin(), entries.end(), [&value, write](const T& entry) { return write(value, entry); });
}

struct ValueWriter {
  ByteBuffer& value;
  bool operator()(const AddressAssign& assign) const { return write_all(value, assign.addresses, write_assigned); }
  bool operator()(const AddressRequest& request) const {
    return request_is_valid(request.addresses) && write_all(value, request.addresses, write_assigned);
  }
  bool operator()(const RouteAdvertisement& routes) const {
    return routes_are_valid(routes.ranges) && write_all(value, routes.ranges, write_range);
  }
};

}  // namespace

bool serialize_capsule(const ControlCapsule& capsule, ByteBuffer& out) {
  ByteBuffer value;
  if (!std::visit(ValueWriter{value}, capsule) || value.size() > kMaxControlCapsule) return false;
  write_varint(out, capsule.index() + static_cast<std::uint64_t>(CapsuleType::kAddressAssign));
  write_varint(out, value.size());
  out.insert(out.end(), value.begin(), value.end());
  return true;
}

std::optional<ControlCapsule> parse_capsule_value(CapsuleType type, ByteView value) {
  switch (type) {
    case CapsuleType::kDatagram: return std::nullopt;
    case CapsuleType::kAddressAssign: {
      AddressAssign assign;
      if (!read_all(value, assign.addresses, read_assigned)) return std::nullopt;
      return assign;
    }
    case CapsuleType::kAddressRequest: {
      AddressRequest request;
      if (!read_all(value, request.addresses, read_assigned) || !request_is_valid(request.addresses)) return std::nullopt;
      return request;
    }
    case CapsuleType::kRouteAdvertisement: {
      RouteAdvertisement routes;
      if (!read_all(value, routes.ranges, read_range) || !routes_are_valid(routes.ranges)) return std::nullopt;
      return routes;
    }
  }
  return std::nullopt;
}

std::optional<RouteAdvertisement> make_route_advertisement(std::vector<IpRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const IpRange& a, const IpRange& b) { return order_of(a) < order_of(b); });
  if (ranges.size() > kMaxCapsuleEntries || !routes_are_valid(ranges)) return std::nullopt;
  return RouteAdvertisement{std::move(ranges)};
}

IpRange range_of(const IpPrefix& prefix) {
  auto first = prefix.base.octets();
  auto last = first;
  for (std::size_t bit = prefix.length; bit < 128; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    first[bit / 8] = static_cast<std::uint8_t>(first[bit / 8] & ~mask);
    last[bit / 8] = static_cast<std::uint8_t>(last[bit / 8] | mask);
  }
  return {IpAddress::v6(first), IpAddress::v6(last), 0};
}

}  // namespace natt::tunnel
