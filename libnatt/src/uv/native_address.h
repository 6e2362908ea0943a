// SPDX-License-Identifier: Apache-2.0
#pragma once

// SocketAddress to and from the kernel's sockaddr.

#include <sys/socket.h>

#include <optional>

#include <natt/address.h>

namespace natt::uv {

struct NativeAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// For a socket of `family`: AF_INET6 takes both (IPv4 as mapped address), AF_INET
// takes IPv4 and `::`, which becomes 0.0.0.0. Absent when the family cannot express it.
[[nodiscard]] std::optional<NativeAddress> to_native(const SocketAddress& address, int family);
// Unspecified for a family that is not IP.
[[nodiscard]] SocketAddress from_native(const sockaddr_storage& storage);

// getsockname.
[[nodiscard]] SocketAddress bound_address(int fd);

}  // namespace natt::uv
