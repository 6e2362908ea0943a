// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace natt::tunnel {

// Which end of a tunnel this is.
enum class Side : std::uint8_t { kClient, kServer };

}  // namespace natt::tunnel
