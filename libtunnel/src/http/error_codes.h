// SPDX-License-Identifier: Apache-2.0
#pragma once

// Error codes of HTTP/3 (RFC 9114 section 8.1), which are those of streams.h, and what
// HTTP/2 calls the same (RFC 9113 section 7). Pure functions.

#include <cstdint>

namespace natt::tunnel {

inline constexpr std::uint64_t kHttpNoError = 0x100;
inline constexpr std::uint64_t kHttpProtocolError = 0x101;
inline constexpr std::uint64_t kHttpInternalError = 0x102;
inline constexpr std::uint64_t kHttpExcessiveLoad = 0x107;
inline constexpr std::uint64_t kHttpRequestRejected = 0x10b;
inline constexpr std::uint64_t kHttpMessageError = 0x10e;

// What HTTP/2 has no word for becomes INTERNAL_ERROR.
[[nodiscard]] std::uint32_t to_http2_code(std::uint64_t code);
[[nodiscard]] std::uint64_t from_http2_code(std::uint32_t code);

}  // namespace natt::tunnel
