// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hex text with blanks to bytes, for vectors in tests.

#include <string_view>

#include <natt/bytes.h>

namespace natt::test {

[[nodiscard]] inline ByteBuffer from_hex(std::string_view text) {
  ByteBuffer bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (high >= 0) bytes.push_back(static_cast<std::uint8_t>(high * 16 + digit));
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

}  // namespace natt::test
