// SPDX-License-Identifier: Apache-2.0
#pragma once

// CRC-32 as FINGERPRINT uses it (ISO/IEC 3309, ITU V.42; RFC 8489 section 14.7).

#include <cstdint>

#include <natt/bytes.h>

namespace natt {

[[nodiscard]] std::uint32_t crc32(ByteView bytes);

}  // namespace natt
