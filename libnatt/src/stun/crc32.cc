// SPDX-License-Identifier: Apache-2.0
#include "src/stun/crc32.h"

#include <array>

namespace natt {
namespace {

constexpr std::uint32_t kReversedPolynomial = 0xEDB88320U;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t octet = 0; octet < 256; ++octet) {
    std::uint32_t remainder = octet;
    for (int bit = 0; bit < 8; ++bit) {
      remainder = (remainder & 1) != 0 ? (remainder >> 1) ^ kReversedPolynomial : remainder >> 1;
    }
    table[octet] = remainder;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

}  // namespace

std::uint32_t crc32(ByteView bytes) {
  std::uint32_t remainder = 0xFFFFFFFFU;
  for (const std::uint8_t octet : bytes) remainder = (remainder >> 8) ^ kTable[(remainder ^ octet) & 0xFF];
  return ~remainder;
}

}  // namespace natt
