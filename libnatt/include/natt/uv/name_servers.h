// SPDX-License-Identifier: Apache-2.0
#pragma once

// The name servers that this host's resolver asks (resolv.conf(5)). Reads a file; call it
// when something has changed, not per packet.

#include <vector>

#include <natt/address.h>

namespace natt::uv {

[[nodiscard]] std::vector<IpAddress> name_servers();

}  // namespace natt::uv
