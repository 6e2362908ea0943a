// SPDX-License-Identifier: Apache-2.0
#include "src/masque/varint.h"

namespace natt::tunnel {

std::size_t varint_size(std::uint64_t value) {
  if (value < (std::uint64_t{1} << 6)) return 1;
  if (value < (std::uint64_t{1} << 14)) return 2;
  if (value < (std::uint64_t{1} << 30)) return 4;
  return 8;
}

std::size_t store_varint(std::uint8_t* at, std::uint64_t value) {
  const std::size_t size = varint_size(value);
  for (std::size_t i = size; i-- > 0; value >>= 8) at[i] = static_cast<std::uint8_t>(value & 0xff);
  at[0] = static_cast<std::uint8_t>(at[0] | (static_cast<unsigned>(std::countr_zero(size)) << 6));
  return size;
}

void write_varint(ByteBuffer& out, std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  const std::size_t size = store_varint(bytes.data(), value);
  out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
}

std::optional<std::uint64_t> read_varint(ByteReader& in) {
  const ByteView rest = in.rest();
  if (rest.empty()) return std::nullopt;
  const auto bytes = in.read_bytes(std::size_t{1} << (rest[0] >> 6));
  if (!bytes) return std::nullopt;
  std::uint64_t value = (*bytes)[0] & 0x3f;
  for (const std::uint8_t octet : bytes->subspan(1)) value = (value << 8) | octet;
  return value;
}

}  // namespace natt::tunnel
