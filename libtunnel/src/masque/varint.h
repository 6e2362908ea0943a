// SPDX-License-Identifier: Apache-2.0
#pragma once

// Variable-length integers (RFC 9000 section 16): 1, 2, 4 or 8 octets, the two highest bits
// tell which. Longer than necessary is valid. Pure functions.

#include <cstdint>
#include <optional>

#include <natt/bytes.h>

namespace natt::tunnel {

inline constexpr std::uint64_t kMaxVarint = (std::uint64_t{1} << 62) - 1;

// Octets the shortest encoding takes; `value` at most kMaxVarint.
[[nodiscard]] std::size_t varint_size(std::uint64_t value);
// Writes the shortest encoding to `at`, which has room for varint_size(value); returns its size.
std::size_t store_varint(std::uint8_t* at, std::uint64_t value);
void write_varint(ByteBuffer& out, std::uint64_t value);
// Nothing, and nothing read, when the bytes end too early.
[[nodiscard]] std::optional<std::uint64_t> read_varint(ByteReader& in);

}  // namespace natt::tunnel
