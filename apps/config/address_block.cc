// SPDX-License-Identifier: Apache-2.0
#include "apps/config/address_block.h"

#include <charconv>

#include "apps/gateway/entitlement_rule.h"

namespace natt::config {
namespace {

bool has_host_bits(const IpPrefix& prefix) {
  const auto& octets = prefix.base.octets();
  for (std::size_t bit = prefix.length; bit < 128; ++bit) {
    if ((octets[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
  }
  return false;
}

}  // namespace

std::optional<IpPrefix> parse_block(std::string_view text) {
  const auto prefix = IpPrefix::parse(text);
  return prefix && !has_host_bits(*prefix) ? prefix : std::nullopt;
}

bool holds(const IpPrefix& block, const IpAddress& address) {
  return block.base.is_v4() == address.is_v4() && block.contains(address);
}

bool is_inside(const IpPrefix& inner, const IpPrefix& outer) {
  return inner.length >= outer.length && holds(outer, inner.base);
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || failed != std::errc{} || stop != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  if (const auto literal = SocketAddress::parse(text)) {
    if (literal->port == 0) return std::nullopt;
    return HostPort{literal->ip.to_string(), literal->port};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = gateway::canonical_host_name(text.substr(0, colon));
  const auto port = parse_port(text.substr(colon + 1));
  if (!host || !port) return std::nullopt;
  return HostPort{std::move(*host), *port};
}

}  // namespace natt::config
