// SPDX-License-Identifier: Apache-2.0
#pragma once

// Transport addresses and fixed-size octet strings in protobuf messages. Internal to libnatt.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>

#include "address.pb.h"

namespace natt {

inline std::string to_wire(ByteView bytes) { return std::string(as_text(bytes)); }
inline ByteBuffer to_buffer(const std::string& text) { return ByteBuffer(text.begin(), text.end()); }

template <std::size_t N>
[[nodiscard]] bool copy_exactly(const std::string& text, std::span<std::uint8_t, N> out) {
  if (text.size() != N) return false;
  std::copy(text.begin(), text.end(), out.begin());
  return true;
}

inline void put_address(const SocketAddress& address, wire::Address& out) {
  out.set_ip(to_wire(address.ip.octets()));
  out.set_port(address.port);
}

[[nodiscard]] inline std::optional<SocketAddress> get_address(const wire::Address& in) {
  std::array<std::uint8_t, 16> octets{};
  if (!copy_exactly<16>(in.ip(), octets) || in.port() > 0xffff) return std::nullopt;
  return SocketAddress{IpAddress::v6(octets), static_cast<std::uint16_t>(in.port())};
}

template <typename Repeated>
void put_addresses(const std::vector<SocketAddress>& addresses, Repeated& out) {
  for (const SocketAddress& address : addresses) put_address(address, *out.Add());
}

// False when there are more than `limit`, or one is malformed.
template <typename Repeated>
[[nodiscard]] bool get_addresses(const Repeated& in, std::size_t limit, std::vector<SocketAddress>& out) {
  if (static_cast<std::size_t>(in.size()) > limit) return false;
  for (const wire::Address& entry : in) {
    const auto address = get_address(entry);
    if (!address) return false;
    out.push_back(*address);
  }
  return true;
}

}  // namespace natt
