// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes that differ everywhere, so that loss and reordering show; the same ones each time.

#include <cstddef>
#include <cstdint>
#include <string>

#include <natt/bytes.h>

namespace natt::test {

[[nodiscard]] ByteBuffer pattern(std::size_t size, std::uint64_t seed);
[[nodiscard]] std::string text_pattern(std::size_t size, std::uint64_t seed = 7);

}  // namespace natt::test
