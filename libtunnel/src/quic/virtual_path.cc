// SPDX-License-Identifier: Apache-2.0
#include "src/quic/virtual_path.h"

#include <natt/bytes.h>

namespace natt::tunnel {
namespace {

constexpr std::uint16_t kPort = 443;  // any constant: nothing is ever sent there

// fd00::<64 bits of the path>, a unique local address (RFC 4193) that no real socket has.
sockaddr_in6 address_of(std::uint64_t path) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kPort);
  address.sin6_addr.s6_addr[0] = 0xfd;
  store_be(address.sin6_addr.s6_addr + 8, path);
  return address;
}

ngtcp2_addr native_address(sockaddr_in6& address) {
  return {reinterpret_cast<ngtcp2_sockaddr*>(&address), sizeof(address)};
}

}  // namespace

VirtualPath::VirtualPath(Side side, PathId path) : local_(address_of(0)), remote_(address_of(0)) {
  (side == Side::kClient ? local_ : remote_) = address_of(path.value);
}

ngtcp2_path VirtualPath::native() { return {native_address(local_), native_address(remote_), nullptr}; }

PathId VirtualPath::id_of(Side side, const ngtcp2_path& path) {
  const ngtcp2_addr& varying = side == Side::kClient ? path.local : path.remote;
  if (varying.addrlen != sizeof(sockaddr_in6)) return {};
  const auto* const address = reinterpret_cast<const sockaddr_in6*>(varying.addr);
  return {load_be<std::uint64_t>(address->sin6_addr.s6_addr + 8)};
}

}  // namespace natt::tunnel
