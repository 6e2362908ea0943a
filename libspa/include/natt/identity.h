// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who a device is: one SPIFFE URI, `spiffe://<site>/<role>/<name>`. SPA identity,
// certificate identity, role and site always agree; a peer is verified by this
// identity, never by host name or address. Value type.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace natt {

enum class Role : std::uint8_t { kBroker = 1, kGateway = 2, kClient = 3 };

[[nodiscard]] std::string_view to_string(Role role);  // "broker", "gateway", "client"
[[nodiscard]] std::optional<Role> parse_role(std::string_view text);

// 1 to 63 octets of [a-z0-9-]; sites and devices are named so.
[[nodiscard]] bool is_valid_name(std::string_view name);

struct Identity {
  std::string site;
  Role role = Role::kClient;
  std::string name;

  // Exactly the canonical form; anything else (upper case, port, query, a fourth
  // segment) is refused.
  [[nodiscard]] static std::optional<Identity> parse(std::string_view uri);
  [[nodiscard]] std::string uri() const;
  friend auto operator<=>(const Identity&, const Identity&) = default;
};

}  // namespace natt
