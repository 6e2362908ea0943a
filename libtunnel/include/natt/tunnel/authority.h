// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whom a tunnel stream is for: `host:port` as it stands in the :authority of a CONNECT
// request (RFC 9114 section 4.4, RFC 3986 section 3.2) and, percent-encoded, in the path of
// a CONNECT-UDP request (RFC 9298 section 2). Everything parsed here is peer-supplied.
// Value type.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/address.h>

namespace natt::tunnel {

struct Authority {
  // A DNS name in lower case (RFC 1123: LDH labels, at most 253 octets, no trailing dot) or
  // an IP literal without brackets, in canonical text form.
  std::string host;
  // 1 to 65535.
  std::uint16_t port = 0;

  // "db.example:5432", "192.0.2.7:22", "[2001:db8::1]:443". No user information, no empty
  // port, no zone, no leading zeros, no number that only some resolvers take for an address.
  [[nodiscard]] static std::optional<Authority> parse(std::string_view text);
  [[nodiscard]] static Authority of(const SocketAddress& address);
  // The form that parse() reads.
  [[nodiscard]] std::string to_string() const;
  // The host as an address when it is an IP literal.
  [[nodiscard]] std::optional<IpAddress> ip() const;

  friend bool operator==(const Authority&, const Authority&) = default;
};

// "/.well-known/masque/udp/{target_host}/{target_port}/" (RFC 9298 section 2).
[[nodiscard]] std::string connect_udp_path(const Authority& target);
[[nodiscard]] std::optional<Authority> parse_connect_udp_path(std::string_view path);

// "/.well-known/masque/ip/*/*/" (RFC 9484 section 4.6): the whole tunnel, not scoped to one
// target or protocol, is the only form this library opens and accepts.
inline constexpr std::string_view kConnectIpPath = "/.well-known/masque/ip/*/*/";

}  // namespace natt::tunnel
