// SPDX-License-Identifier: Apache-2.0
#pragma once

// The addresses of this host's interfaces, for host candidates: all that are up, without
// loopback, link-local and multicast ones (RFC 8445 section 5.1.1.1). A system call each
// time; call it from a timer, not per packet.

#include <vector>

#include <natt/address.h>

namespace natt::uv {

[[nodiscard]] std::vector<IpAddress> interface_addresses();

}  // namespace natt::uv
