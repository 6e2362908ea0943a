// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/entitlement_rule.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "apps/config/address_block.h"

namespace natt::gateway {
namespace {

constexpr std::size_t kLongestHostName = 253;  // RFC 1035 section 2.3.4, as text
constexpr std::size_t kLongestLabel = 63;

tl::unexpected<Error> complain(std::string message) {
  return fail(std::make_error_code(std::errc::invalid_argument), std::move(message));
}

std::optional<Transport> parse_transport(std::string_view text) {
  for (const Transport transport : {Transport::kTcp, Transport::kUdp, Transport::kIcmp, Transport::kAny}) {
    if (text == to_string(transport)) return transport;
  }
  return std::nullopt;
}

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > kLongestLabel || label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(),
                     [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; });
}

std::optional<PortRange> parse_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = config::parse_port(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : config::parse_port(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{*first, *last};
}

std::optional<std::vector<PortRange>> parse_ports(std::string_view text) {
  std::vector<PortRange> ranges;
  for (;;) {
    const std::size_t comma = text.find(',');
    const auto range = parse_range(text.substr(0, comma));
    if (!range || ranges.size() == kMaxPortRangesPerRule) return std::nullopt;
    ranges.push_back(*range);
    if (comma == std::string_view::npos) return ranges;
    text.remove_prefix(comma + 1);
  }
}

// Splits "HOST:PORTS". A colon belongs to an IPv6 address unless that stands in
// brackets or is followed by "/LENGTH".
std::optional<std::pair<std::string_view, std::string_view>> split_ports(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  const bool is_plain = host.find(':') == std::string_view::npos;
  if (!is_plain && host.back() != ']' && host.find('/') == std::string_view::npos) return std::nullopt;
  return std::pair(host, text.substr(colon + 1));
}

// "[2001:db8::]/48" -> "2001:db8::/48"; nothing when the brackets do not pair.
std::optional<std::string> without_brackets(std::string_view text) {
  if (!text.starts_with('['))
    return text.find_first_of("[]") == std::string_view::npos ? std::optional(std::string(text)) : std::nullopt;
  const std::size_t end = text.find(']');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view address = text.substr(1, end - 1);
  const std::string_view rest = text.substr(end + 1);
  if (address.find(':') == std::string_view::npos || (!rest.empty() && rest.front() != '/')) return std::nullopt;
  return std::string(address) + std::string(rest);
}

Result<void> parse_host(std::string_view text, Rule& rule) {
  const auto plain = without_brackets(text);
  rule.prefix = plain ? config::parse_block(*plain) : std::nullopt;
  if (rule.prefix) return {};
  if (plain && IpPrefix::parse(*plain)) {
    return complain("the address block has bits set behind its length (10.99.0.0/24, not 10.99.0.5/24)");
  }
  auto name = canonical_host_name(text);
  if (!name) return complain("expected an address, a block such as 10.99.0.0/24 or a host name behind the protocol");
  rule.host = std::move(*name);
  return {};
}

std::string canonical_text(const Rule& rule) {
  std::string host = rule.host;
  if (rule.prefix) {
    const std::string shown = rule.prefix->to_string();
    const std::size_t slash = shown.find('/');
    const bool is_single = rule.prefix->length == 128;
    const std::string address = shown.substr(0, slash);
    host = rule.prefix->base.is_v4() ? address : fmt::format("[{}]", address);
    if (!is_single) host += shown.substr(slash);
  }
  std::string ports;
  for (const PortRange& range : rule.ports) {
    ports += ports.empty() ? ":" : ",";
    ports += range.first == range.last ? std::to_string(range.first) : fmt::format("{}-{}", range.first, range.last);
  }
  return fmt::format("{}/{}{}", to_string(rule.transport), host, ports);
}

}  // namespace

std::string_view to_string(Transport transport) {
  switch (transport) {
    case Transport::kTcp: return "tcp";
    case Transport::kUdp: return "udp";
    case Transport::kIcmp: return "icmp";
    case Transport::kAny: return "any";
  }
  return "unknown";
}

bool Rule::is_exactly(const IpAddress& address) const {
  return prefix && prefix->length == 128 && prefix->base == address;
}

bool Rule::matches_transport(Transport asked) const { return transport == Transport::kAny || transport == asked; }

bool Rule::matches_port(std::uint16_t port) const {
  if (ports.empty()) return true;
  return std::any_of(ports.begin(), ports.end(),
                     [port](const PortRange& range) { return port >= range.first && port <= range.last; });
}

bool Rule::matches_address(const IpAddress& address) const { return prefix && config::holds(*prefix, address); }

Result<Rule> parse_rule(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto transport = parse_transport(text.substr(0, slash));
  if (!transport || slash == std::string_view::npos) {
    return complain("expected PROTOCOL/HOST:PORTS with protocol tcp, udp, icmp or any (tcp/10.99.0.0/24:443)");
  }
  Rule rule;
  rule.transport = *transport;
  std::string_view host = text.substr(slash + 1);
  if (rule.transport == Transport::kTcp || rule.transport == Transport::kUdp) {
    const auto parts = split_ports(host);
    auto ports = parts ? parse_ports(parts->second) : std::nullopt;
    if (!ports)
      return complain("expected ports behind the host (:443, :80,443 or :1-65535; an IPv6 address in brackets)");
    rule.ports = std::move(*ports);
    host = parts->first;
  }
  if (auto parsed = parse_host(host, rule); !parsed) return tl::unexpected(parsed.error());
  rule.text = canonical_text(rule);
  return rule;
}

std::optional<std::string> canonical_host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kLongestHostName) return std::nullopt;
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  bool has_letter = false;
  for (std::string_view rest = name;;) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    if (!is_label(label)) return std::nullopt;
    // Only the last label decides: resolvers read "1.2.3.0x4" and "10.1" as addresses.
    has_letter = std::isalpha(static_cast<unsigned char>(label.front())) != 0;
    if (label.size() == rest.size()) break;
    rest.remove_prefix(label.size() + 1);
  }
  return has_letter ? std::optional(std::move(name)) : std::nullopt;
}

}  // namespace natt::gateway
