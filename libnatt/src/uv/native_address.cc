// SPDX-License-Identifier: Apache-2.0
#include "src/uv/native_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace natt::uv {
namespace {

NativeAddress to_inet6(const SocketAddress& address) {
  NativeAddress native;
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(address.port);
  std::memcpy(&in6.sin6_addr, address.ip.octets().data(), sizeof in6.sin6_addr);
  std::memcpy(&native.storage, &in6, sizeof in6);
  native.length = sizeof in6;
  return native;
}

NativeAddress to_inet4(const SocketAddress& address) {
  NativeAddress native;
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_port = htons(address.port);
  // Of `::` the last four octets are 0.0.0.0.
  std::memcpy(&in4.sin_addr, address.ip.octets().data() + 12, sizeof in4.sin_addr);
  std::memcpy(&native.storage, &in4, sizeof in4);
  native.length = sizeof in4;
  return native;
}

}  // namespace

std::optional<NativeAddress> to_native(const SocketAddress& address, int family) {
  if (family == AF_INET6) return to_inet6(address);
  if (!address.ip.is_v4() && !address.ip.is_unspecified()) return std::nullopt;
  return to_inet4(address);
}

SocketAddress from_native(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, &storage, sizeof in6);
    std::array<std::uint8_t, 16> octets{};
    std::memcpy(octets.data(), &in6.sin6_addr, octets.size());
    return {IpAddress::v6(octets), ntohs(in6.sin6_port)};
  }
  if (storage.ss_family != AF_INET) return {};
  sockaddr_in in4{};
  std::memcpy(&in4, &storage, sizeof in4);
  std::array<std::uint8_t, 4> octets{};
  std::memcpy(octets.data(), &in4.sin_addr, octets.size());
  return {IpAddress::v4(octets), ntohs(in4.sin_port)};
}

SocketAddress bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return from_native(storage);
}

}  // namespace natt::uv
