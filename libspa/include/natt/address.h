// SPDX-License-Identifier: Apache-2.0
#pragma once

// IP addresses and transport addresses in one canonical form: 16 octets, IPv4 as
// ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that an address compares equal
// however a dual-stack socket reported it. Value types.

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>

namespace natt {

class IpAddress {
 public:
  // The unspecified address, `::`.
  constexpr IpAddress() = default;
  [[nodiscard]] static IpAddress v4(std::array<std::uint8_t, 4> octets);
  [[nodiscard]] static IpAddress v6(std::array<std::uint8_t, 16> octets);
  // Dotted quad or RFC 4291 text, no zone, no brackets.
  [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const;
  // Meaningful when is_v4().
  [[nodiscard]] std::array<std::uint8_t, 4> v4_octets() const;
  // The canonical 16 octets.
  [[nodiscard]] const std::array<std::uint8_t, 16>& octets() const { return octets_; }

  [[nodiscard]] bool is_unspecified() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_link_local() const;  // RFC 3927, RFC 4291
  [[nodiscard]] bool is_multicast() const;
  // RFC 1918, RFC 6598 (carrier-grade NAT), RFC 4193 (unique local).
  [[nodiscard]] bool is_private() const;
  // Neither of the above, not broadcast and not reserved: may stand in a packet on the Internet.
  [[nodiscard]] bool is_global() const;

  [[nodiscard]] std::string to_string() const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<std::uint8_t, 16> octets_{};
};

struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  // "192.0.2.1:443" or "[2001:db8::1]:443".
  [[nodiscard]] static std::optional<SocketAddress> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

// An address block in CIDR notation (RFC 4632); a bare address is a block of one.
struct IpPrefix {
  IpAddress base;
  // Counted over the canonical 128 bits: 10.0.0.0/8 has 104.
  std::uint8_t length = 128;

  [[nodiscard]] static std::optional<IpPrefix> parse(std::string_view text);
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] std::string to_string() const;
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

}  // namespace natt

template <>
struct std::hash<natt::IpAddress> {
  std::size_t operator()(const natt::IpAddress& address) const noexcept;
};
template <>
struct std::hash<natt::SocketAddress> {
  std::size_t operator()(const natt::SocketAddress& address) const noexcept;
};
