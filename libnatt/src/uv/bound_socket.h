// SPDX-License-Identifier: Apache-2.0
#pragma once

// A non-blocking socket bound to an address: dual stack where the machine has
// IPv6, IPv4 where it has been switched off.

#include <cstdint>

#include <natt/address.h>
#include <natt/error.h>

#include "src/uv/descriptor.h"

namespace natt::uv {

struct BoundSocket {
  Descriptor fd;
  int family = 0;  // AF_INET6 or AF_INET
};

enum class PortSharing : std::uint8_t { kNone, kReusePort };

// `type` is SOCK_DGRAM or SOCK_STREAM.
[[nodiscard]] Result<BoundSocket> open_bound_socket(int type, const SocketAddress& address, PortSharing sharing);

// "call: what the system says", as Errc::kIo.
[[nodiscard]] tl::unexpected<Error> io_error(const char* call, int error_number);

// For options that are wishes; false when the kernel refuses.
bool set_option(int fd, int level, int option, int value);

}  // namespace natt::uv
