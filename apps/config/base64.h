// SPDX-License-Identifier: Apache-2.0
#pragma once

// Base64 (RFC 4648 section 4) of keys and rosters in configuration files.

#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>

namespace natt::config {

[[nodiscard]] std::string base64_encode(ByteView bytes);
// Spaces and line ends are skipped; anything else that is not canonical is refused.
// Constant time in the characters, so a key leaves no trace in the cache.
[[nodiscard]] std::optional<ByteBuffer> base64_decode(std::string_view text);

}  // namespace natt::config
