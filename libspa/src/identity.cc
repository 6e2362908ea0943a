// SPDX-License-Identifier: Apache-2.0
#include <natt/identity.h>

#include <algorithm>

namespace natt {
namespace {

constexpr std::string_view kScheme = "spiffe://";

bool is_name_octet(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

// Takes what stands before the first '/' off the front of `rest`.
std::optional<std::string_view> take_segment(std::string_view& rest) {
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view segment = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  return segment;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kBroker: return "broker";
    case Role::kGateway: return "gateway";
    case Role::kClient: return "client";
  }
  return "unknown";
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::kBroker, Role::kGateway, Role::kClient}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), is_name_octet);
}

std::optional<Identity> Identity::parse(std::string_view uri) {
  if (!uri.starts_with(kScheme)) return std::nullopt;
  uri.remove_prefix(kScheme.size());
  const auto site = take_segment(uri);
  const auto role_text = site ? take_segment(uri) : std::nullopt;
  const auto role = role_text ? parse_role(*role_text) : std::nullopt;
  if (!role || !is_valid_name(*site) || !is_valid_name(uri)) return std::nullopt;
  return Identity{std::string(*site), *role, std::string(uri)};
}

std::string Identity::uri() const {
  return std::string(kScheme) + site + "/" + std::string(to_string(role)) + "/" + name;
}

}  // namespace natt
