// SPDX-License-Identifier: Apache-2.0
#pragma once

// Layout of the two records of the TCP carrier (docs/WIRE.md section 1.5, RFC 8446
// sections 5.1 and 4.1.2), shared by the writer and the reader.
//
//   record 1:   0  16 03 01 len(2)     handshake
//               5  01 len(3) 03 03     client_hello, legacy version
//              11  frame[0..31]        random
//              43  20                  session id length
//              44  frame[32..63]       session id
//              76  the template

#include <cstddef>
#include <cstdint>

namespace natt::spa::tls_record {

inline constexpr std::uint8_t kHandshake = 0x16;
inline constexpr std::uint8_t kApplicationData = 0x17;
// RFC 8446 section 5.1: an initial ClientHello "MAY also be 0x0301 for compatibility purposes".
inline constexpr std::uint16_t kVersion10 = 0x0301;
inline constexpr std::uint16_t kVersion12 = 0x0303;
inline constexpr std::size_t kHeader = 5;
inline constexpr std::size_t kRandomAt = 11;
inline constexpr std::size_t kSessionIdLengthAt = 43;
inline constexpr std::size_t kSessionIdAt = 44;
inline constexpr std::size_t kFrameEnd = 76;
inline constexpr std::size_t kMinRecord1Length = kFrameEnd - kHeader;
inline constexpr std::size_t kMaxRecord1Length = 512;

}  // namespace natt::spa::tls_record
