// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/never_list.h"

#include <algorithm>
#include <array>

#include "apps/config/address_block.h"

namespace natt::gateway {
namespace {

// Where clouds serve credentials to whoever asks from inside the machine: AWS (also over
// IPv6), Google over IPv6, Oracle, Alibaba, Azure's platform channel. 169.254.169.254 is
// link-local already.
constexpr std::array<std::string_view, 6> kMetadata = {"169.254.169.254", "fd00:ec2::254",   "fd20:ce::254",
                                                       "192.0.0.192",     "100.100.100.200", "168.63.129.16"};

bool is_metadata(const IpAddress& address) {
  return std::any_of(kMetadata.begin(), kMetadata.end(),
                     [&address](std::string_view text) { return IpAddress::parse(text) == address; });
}

bool contains(const std::vector<IpAddress>& list, const IpAddress& address) {
  return std::find(list.begin(), list.end(), address) != list.end();
}

// 0.0.0.0/8 reaches the host itself on Linux; 240.0.0.0/4 holds the limited broadcast (RFC 1122, RFC 1112).
std::optional<std::string_view> find_reserved(const IpAddress& address) {
  if (!address.is_v4()) return std::nullopt;
  const std::uint8_t first = address.v4_octets()[0];
  if (first == 0) return "unspecified";
  if (address == IpAddress::v4({255, 255, 255, 255})) return "broadcast";
  if (first >= 240) return "reserved";
  return std::nullopt;
}

// 64:ff9b:1::/48 (RFC 8215). Where the IPv4 address stands in it depends on the local
// translator's prefix length, so what lies behind cannot be judged.
bool is_local_nat64(const IpAddress& address) {
  constexpr std::array<std::uint8_t, 6> kPrefix = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01};
  return std::equal(kPrefix.begin(), kPrefix.end(), address.octets().begin());
}

}  // namespace

std::optional<std::string_view> NeverList::find(const IpAddress& address) const {
  if (address.is_unspecified()) return "unspecified";
  if (address.is_loopback()) return "loopback";
  if (is_metadata(address)) return "cloud metadata";
  if (address.is_link_local()) return "link-local";
  if (address.is_multicast()) return "multicast";
  if (const auto reserved = find_reserved(address)) return reserved;
  if (is_local_nat64(address)) return "behind a local NAT64 translator";
  if (contains(own, address)) return "the gateway's own address";
  if (contains(brokers, address)) return "a broker";
  return std::nullopt;
}

bool NeverList::is_in_pool(const IpAddress& address) const {
  return std::any_of(pool.begin(), pool.end(),
                     [&address](const IpPrefix& block) { return config::holds(block, address); });
}

}  // namespace natt::gateway
