// SPDX-License-Identifier: Apache-2.0
#pragma once

// The digits of base32hex (RFC 4648 section 7) in lower case, five bits each. Pure.

#include <array>
#include <cstdint>
#include <string_view>

namespace natt::spa {

inline constexpr std::string_view kBase32HexDigits = "0123456789abcdefghijklmnopqrstuv";
// In a table of values: not a digit. No value has one of its high bits.
inline constexpr std::uint8_t kNoBase32HexDigit = 0xff;

// Octet to value, upper case as well.
inline constexpr std::array<std::uint8_t, 256> kBase32HexValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNoBase32HexDigit);
  for (std::size_t value = 0; value < kBase32HexDigits.size(); ++value) {
    const auto digit = static_cast<std::uint8_t>(kBase32HexDigits[value]);
    values[digit] = static_cast<std::uint8_t>(value);
    if (digit >= 'a') values[static_cast<std::size_t>(digit - 'a' + 'A')] = static_cast<std::uint8_t>(value);
  }
  return values;
}();

}  // namespace natt::spa
