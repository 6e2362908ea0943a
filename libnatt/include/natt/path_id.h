// SPDX-License-Identifier: Apache-2.0
#pragma once

// A network path as the tunnel sees it: an opaque number. The tunnel's QUIC runs
// over virtual addresses made from it; only the path table below (natt/path_table.h)
// knows the real addresses, the socket and the relay session behind it. A path
// that changes its real remote address is a new PathId, so RFC 9000 section 8
// (address validation) holds for real addresses too.

#include <compare>
#include <cstdint>
#include <functional>

namespace natt {

struct PathId {
  std::uint64_t value = 0;  // 0 names no path
  [[nodiscard]] explicit operator bool() const { return value != 0; }
  friend auto operator<=>(const PathId&, const PathId&) = default;
};

}  // namespace natt

template <>
struct std::hash<natt::PathId> {
  std::size_t operator()(natt::PathId id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
