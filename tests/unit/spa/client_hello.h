// SPDX-License-Identifier: Apache-2.0
#pragma once

// Walks what follows the session id (or cookie) of a ClientHello: the shape must hold
// for whoever dissects it, not only for our own parser.

#include <natt/bytes.h>

namespace natt::test {

// Cipher suites, compression methods and extensions (RFC 8446 section 4.1.2), each length nesting exactly.
inline bool is_client_hello_tail(ByteView tail) {
  ByteReader in(tail);
  const auto suites = in.read<std::uint16_t>();
  if (!suites || *suites % 2 != 0 || !in.read_bytes(*suites)) return false;
  const auto compressions = in.read<std::uint8_t>();
  if (!compressions || !in.read_bytes(*compressions)) return false;
  const auto extensions = in.read<std::uint16_t>();
  if (!extensions || *extensions != in.rest().size()) return false;
  while (!in.empty()) {
    if (!in.read<std::uint16_t>()) return false;
    const auto size = in.read<std::uint16_t>();
    if (!size || !in.read_bytes(*size)) return false;
  }
  return true;
}

}  // namespace natt::test
