// SPDX-License-Identifier: Apache-2.0
#pragma once

// IPv6 addresses that lead to an IPv4 host: a policy that looks at the outside only
// would let 64:ff9b::7f00:1 pass for something else than 127.0.0.1.

#include <optional>
#include <vector>

#include <natt/address.h>

namespace natt::gateway {

// The IPv4 address a NAT64 translator (RFC 6052 well-known prefix 64:ff9b::/96) makes of it.
// Such a destination is nothing but that IPv4 host.
[[nodiscard]] std::optional<IpAddress> nat64_target(const IpAddress& address);

// IPv4 addresses that packets to this one may pass through or end at: 6to4 (RFC 3056), Teredo
// server and client (RFC 4380), ISATAP (RFC 5214), IPv4-compatible (RFC 4291 section 2.5.5.1).
[[nodiscard]] std::vector<IpAddress> embedded_ipv4(const IpAddress& address);

}  // namespace natt::gateway
