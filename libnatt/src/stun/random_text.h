// SPDX-License-Identifier: Apache-2.0
#pragma once

// Random base64url text (RFC 4648 section 5): 6 bits an octet, printable, no ':'.

#include <cstddef>
#include <string>

#include <natt/random.h>

namespace natt {

[[nodiscard]] std::string random_text(Random& random, std::size_t size);

}  // namespace natt
