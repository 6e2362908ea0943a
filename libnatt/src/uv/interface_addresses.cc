// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/interface_addresses.h>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace natt::uv {
namespace {

std::optional<IpAddress> address_of(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr || (entry.ifa_flags & IFF_UP) == 0) return std::nullopt;
  if (entry.ifa_addr->sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, entry.ifa_addr, sizeof four);
    std::array<std::uint8_t, 4> octets{};
    std::memcpy(octets.data(), &four.sin_addr, octets.size());
    return IpAddress::v4(octets);
  }
  if (entry.ifa_addr->sa_family != AF_INET6) return std::nullopt;
  sockaddr_in6 six{};
  std::memcpy(&six, entry.ifa_addr, sizeof six);
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &six.sin6_addr, octets.size());
  return IpAddress::v6(octets);
}

bool is_candidate(const IpAddress& address) {
  return !address.is_loopback() && !address.is_link_local() && !address.is_multicast() && !address.is_unspecified();
}

}  // namespace

std::vector<IpAddress> interface_addresses() {
  std::vector<IpAddress> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const auto address = address_of(*entry);
    if (address && is_candidate(*address)) found.push_back(*address);
  }
  freeifaddrs(list);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace natt::uv
