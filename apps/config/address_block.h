// SPDX-License-Identifier: Apache-2.0
#pragma once

// Address blocks and host:port texts as operators write them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/address.h>

namespace natt::config {

// CIDR text without host bits: "10.99.0.5/24" is a typing error more often than a block.
[[nodiscard]] std::optional<IpPrefix> parse_block(std::string_view text);

// Whether every address of `inner` is in `outer`. Blocks of different families never are.
[[nodiscard]] bool is_inside(const IpPrefix& inner, const IpPrefix& outer);
// As IpPrefix::contains, but an IPv6 block such as ::/0 holds no IPv4 address.
[[nodiscard]] bool holds(const IpPrefix& block, const IpAddress& address);

struct HostPort {
  std::string host;  // address literal without brackets, or lower-case host name
  std::uint16_t port = 0;
};
// "wiki.corp:443", "192.0.2.1:443", "[2001:db8::1]:443"; port 1 to 65535.
[[nodiscard]] std::optional<HostPort> parse_host_port(std::string_view text);

// A decimal port from 1 to 65535.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text);

}  // namespace natt::config
