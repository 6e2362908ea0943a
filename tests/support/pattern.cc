// SPDX-License-Identifier: Apache-2.0
#include "support/pattern.h"

#include "support/seeded_random.h"

namespace natt::test {

ByteBuffer pattern(std::size_t size, std::uint64_t seed) {
  ByteBuffer bytes(size);
  SeededRandom(seed).fill(bytes);
  return bytes;
}

std::string text_pattern(std::size_t size, std::uint64_t seed) {
  return std::string(as_text(pattern(size, seed)));
}

}  // namespace natt::test
