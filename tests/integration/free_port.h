// SPDX-License-Identifier: Apache-2.0
#pragma once

// Ports of loopback for a test's site.

#include <natt/address.h>
#include <natt/random.h>

#include "integration/uv_loop.h"

namespace natt::test {

// A UDP and TCP port that is free, below the range from which the kernel takes ports for others. No second call gives
// it, in this process or in another that runs beside it; tests/integration/free_port.py takes part.
[[nodiscard]] std::uint16_t free_port(UvLoop& loop, Random& random);
// A loopback address where nobody listens.
[[nodiscard]] SocketAddress nobodys_address(UvLoop& loop, Random& random);

}  // namespace natt::test
