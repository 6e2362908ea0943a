// SPDX-License-Identifier: Apache-2.0
#pragma once

// One rule of an entitlement as an operator writes it: `PROTOCOL/HOST:PORTS`.
//
//   tcp/10.99.0.0/24:1-65535      tcp/[2001:db8::]/48:443      udp/10.99.0.53:53,5353
//   tcp/wiki.corp.example:443     icmp/10.99.0.0/24            any/10.99.0.7
//
// A block must not have host bits set; a rule for an IPv6 block never matches an IPv4
// address. tcp and udp need ports; icmp (ICMP and ICMPv6) and any take none. Value types.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>

namespace natt::gateway {

enum class Transport : std::uint8_t { kTcp, kUdp, kIcmp, kAny };

[[nodiscard]] std::string_view to_string(Transport transport);  // "tcp", "udp", "icmp", "any"

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;  // inclusive
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

inline constexpr std::size_t kMaxPortRangesPerRule = 32;
inline constexpr std::size_t kMaxRulesPerEntitlement = 1024;
inline constexpr std::size_t kMaxEntitlements = 4096;
inline constexpr std::size_t kMaxRules = 16384;  // in one gateway's file

struct Rule {
  Transport transport = Transport::kTcp;
  std::optional<IpPrefix> prefix;  // or
  std::string host;                // a host name in lower case, matched against the name asked for
  std::vector<PortRange> ports;    // empty: no ports to match (icmp, any)
  std::string text;                // canonical form, for the log

  // Whether this rule names `address` and nothing else (what opens the never-list).
  [[nodiscard]] bool is_exactly(const IpAddress& address) const;
  [[nodiscard]] bool matches_transport(Transport asked) const;
  [[nodiscard]] bool matches_port(std::uint16_t port) const;
  [[nodiscard]] bool matches_address(const IpAddress& address) const;
};

// Errors: one sentence naming the part that is wrong and the expected form.
[[nodiscard]] Result<Rule> parse_rule(std::string_view text);

// What one client may reach; "*" stands for every client of the gateway's site.
struct Entitlement {
  std::string client;
  std::vector<Rule> allow;
};

// RFC 1123 host name, lower-cased, without the root's dot. Its last label starts with a letter,
// so that nothing a resolver would read as a number ("10.1", "0x7f000001") passes for a name.
[[nodiscard]] std::optional<std::string> canonical_host_name(std::string_view text);

}  // namespace natt::gateway
