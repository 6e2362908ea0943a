// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/embedded_ipv4.h"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace natt::gateway {
namespace {

using Octets = std::array<std::uint8_t, 16>;

bool starts_with(const Octets& octets, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), octets.begin());
}

IpAddress four_at(const Octets& octets, std::size_t at) {
  return IpAddress::v4({octets[at], octets[at + 1], octets[at + 2], octets[at + 3]});
}

// Teredo hides the client's address from NATs that rewrite what looks like one (RFC 4380 section 4).
IpAddress inverted_four_at(const Octets& octets, std::size_t at) {
  const auto flip = [](std::uint8_t octet) { return static_cast<std::uint8_t>(~octet & 0xff); };
  return IpAddress::v4({flip(octets[at]), flip(octets[at + 1]), flip(octets[at + 2]), flip(octets[at + 3])});
}

// RFC 5214 section 6.1: interface identifiers ::0:5efe:a.b.c.d and ::200:5efe:a.b.c.d.
bool is_isatap(const Octets& octets) {
  return (octets[8] & 0xfd) == 0 && octets[9] == 0 && octets[10] == 0x5e && octets[11] == 0xfe;
}

// ::a.b.c.d; `::` and `::1` are addresses of their own.
bool is_ipv4_compatible(const Octets& octets) {
  return std::all_of(octets.begin(), octets.begin() + 12, [](std::uint8_t octet) { return octet == 0; }) &&
         (octets[12] != 0 || octets[13] != 0 || octets[14] != 0 || octets[15] > 1);
}

}  // namespace

std::optional<IpAddress> nat64_target(const IpAddress& address) {
  if (!starts_with(address.octets(), {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return std::nullopt;
  return four_at(address.octets(), 12);
}

std::vector<IpAddress> embedded_ipv4(const IpAddress& address) {
  const Octets& octets = address.octets();
  if (starts_with(octets, {0x20, 0x02})) return {four_at(octets, 2)};
  if (starts_with(octets, {0x20, 0x01, 0x00, 0x00})) return {four_at(octets, 4), inverted_four_at(octets, 12)};
  if (is_ipv4_compatible(octets) || (!address.is_v4() && is_isatap(octets))) return {four_at(octets, 12)};
  return {};
}

}  // namespace natt::gateway
