// SPDX-License-Identifier: Apache-2.0
#pragma once

// client.toml: the sites this client belongs to and what it offers locally (port
// forwards, SOCKS5, a TUN device). Value type.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <natt/error.h>

#include "apps/config/program_config.h"

namespace natt::config {

inline constexpr std::size_t kMaxForwards = 256;

// `[[forward]]`: connections accepted at `listen` are carried to `target` as the gateway sees it.
struct Forward {
  SocketAddress listen;
  std::string target_host;  // address literal (no brackets) or host name, resolved by the gateway
  std::uint16_t target_port = 0;
  std::string site;     // always set; may be left out of a file with one site
  std::string gateway;  // empty: any gateway of the site
};

// `[socks]`. Absent listen: no SOCKS5.
struct SocksConfig {
  // A loopback address, or a UNIX socket (made 0600) when the text is a path.
  std::optional<std::variant<SocketAddress, std::filesystem::path>> listen;
  std::string username;  // both empty: no authentication asked
  SecretText password;
  std::string site;
  std::string gateway;
};

// `[tun]`.
struct ClientTun {
  bool enabled = false;
  std::string name = "natt0";
  // Advertised routes are taken when they lie inside one of these. The default is
  // private address space; a default route has to be asked for ("0.0.0.0/0", "::/0").
  std::vector<IpPrefix> accept_routes;
  std::string site;
  std::string gateway;
};

// `[race]`: when the steps after the direct attempt start. Integers are milliseconds;
// "300ms" and "2.5s" are understood.
struct RaceConfig {
  Duration natt_after = std::chrono::milliseconds(300);
  Duration relay_after = std::chrono::milliseconds(2500);
};

struct ClientConfig : ProgramConfig {
  std::vector<SiteConfig> sites;
  std::vector<Forward> forwards;
  SocksConfig socks;
  ClientTun tun;
  RaceConfig race;
  // Private candidates may be tried inside these blocks (DESIGN 7): `[probe] prefixes`.
  std::vector<IpPrefix> probe_prefixes;
};

// Whether every address of `route` is inside one block of `accept_routes`.
[[nodiscard]] bool accepts_route(const ClientTun& tun, const IpPrefix& route);

// Errors as in broker_config.h.
[[nodiscard]] Result<ClientConfig> load_client_config(const std::filesystem::path& file);
[[nodiscard]] Result<ClientConfig> parse_client_config(std::string_view text, const std::filesystem::path& file);

}  // namespace natt::config
