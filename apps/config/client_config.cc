// SPDX-License-Identifier: Apache-2.0
#include "apps/config/client_config.h"

#include <algorithm>

#include "apps/config/address_block.h"
#include "apps/config/config_file.h"
#include "apps/config/duration_text.h"
#include "apps/config/program_tables.h"
#include "apps/config/site_table.h"

namespace natt::config {
namespace {

// RFC 1918, RFC 6598, RFC 4193: what a site may put behind a gateway without being able
// to draw the client's Internet traffic to itself.
constexpr std::string_view kPrivateSpace[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                                              "fc00::/7"};
// A longer delay than this switches a step off in practice; nobody waits that long for a path.
constexpr Duration kLongestRaceStep = std::chrono::minutes(10);
constexpr std::size_t kMaxSocksCredential = 255;  // RFC 1929: one octet of length

Forward read_forward(TableReader& table, const std::vector<SiteConfig>& sites) {
  Forward forward;
  table.require("listen");
  table.require("target");
  forward.listen =
      table.parsed("listen", parse_listen, "ADDRESS:PORT such as \"127.0.0.1:8080\"").value_or(SocketAddress{});
  if (auto target = table.parsed("target", parse_host_port, "HOST:PORT such as \"10.99.0.5:80\"")) {
    forward.target_host = std::move(target->host);
    forward.target_port = target->port;
  }
  Destination destination = read_destination(table, sites);
  forward.site = std::move(destination.site);
  forward.gateway = std::move(destination.gateway);
  table.finish();
  return forward;
}

std::vector<Forward> read_forwards(TableReader& root, const std::vector<SiteConfig>& sites) {
  std::vector<Forward> forwards;
  for (TableReader& table : root.tables("forward", kMaxForwards)) {
    Forward forward = read_forward(table, sites);
    const auto same = [&forward](const Forward& other) { return other.listen == forward.listen; };
    if (std::any_of(forwards.begin(), forwards.end(), same)) table.complain("listen", "is used by two forwards");
    forwards.push_back(std::move(forward));
  }
  return forwards;
}

void read_socks_listen(TableReader& table, SocksConfig& socks, const std::filesystem::path& file) {
  const auto text = table.text("listen");
  if (!text) return;
  if (text->find('/') != std::string::npos) {
    socks.listen = resolve_path(*text, file);
    return;
  }
  const auto address = parse_listen(*text);
  if (address && address->ip.is_loopback()) {
    socks.listen = *address;
  } else {
    table.complain("listen", "expected a loopback address such as \"127.0.0.1:1080\", or the path of a UNIX socket");
  }
}

SocksConfig read_socks(TableReader& root, const std::vector<SiteConfig>& sites, const std::filesystem::path& file) {
  SocksConfig socks;
  auto table = root.table("socks");
  if (!table) return socks;
  read_socks_listen(*table, socks, file);
  socks.username = table->text("username").value_or("");
  socks.password = SecretText(table->text("password").value_or(""));
  if (socks.username.empty() != socks.password.empty()) {
    table->complain(socks.username.empty() ? "username" : "password", "is missing: set both or none");
  }
  if (socks.username.size() > kMaxSocksCredential) table->complain("username", "is longer than 255 octets");
  if (socks.password.view().size() > kMaxSocksCredential) table->complain("password", "is longer than 255 octets");
  Destination destination = read_destination(*table, sites);
  socks.site = std::move(destination.site);
  socks.gateway = std::move(destination.gateway);
  table->finish();
  return socks;
}

std::vector<IpPrefix> private_space() {
  std::vector<IpPrefix> blocks;
  for (const std::string_view text : kPrivateSpace) blocks.push_back(*parse_block(text));
  return blocks;
}

ClientTun read_tun(TableReader& root, const std::vector<SiteConfig>& sites) {
  ClientTun tun;
  tun.accept_routes = private_space();
  auto table = root.table("tun");
  if (!table) return tun;
  tun.enabled = table->boolean("enabled").value_or(tun.enabled);
  tun.name = table->text("name").value_or(tun.name);
  if (!is_interface_name(tun.name)) table->complain("name", "expected an interface name of 1 to 15 letters and digits");
  if (table->has("accept_routes")) {
    tun.accept_routes =
        table->parsed_list("accept_routes", kMaxPrefixes, parse_block, "address blocks such as \"10.0.0.0/8\"");
  }
  Destination destination = read_destination(*table, sites);
  tun.site = std::move(destination.site);
  tun.gateway = std::move(destination.gateway);
  table->finish();
  return tun;
}

Duration read_delay(TableReader& table, std::string_view key, Duration standard) {
  const toml::node* value = table.node(key);
  if (value == nullptr) return standard;
  std::optional<Duration> delay;
  if (const auto number = value->value_exact<std::int64_t>(); number && *number >= 0 && *number <= 600'000) {
    delay = std::chrono::milliseconds(*number);
  } else if (const auto text = value->value_exact<std::string>()) {
    delay = parse_duration(*text);
  }
  if (delay && *delay <= kLongestRaceStep) return *delay;
  table.complain(key, "expected milliseconds as an integer from 0 to 600000, or a text such as \"300ms\" or \"2.5s\"");
  return standard;
}

RaceConfig read_race(TableReader& root) {
  RaceConfig race;
  auto table = root.table("race");
  if (!table) return race;
  race.natt_after = read_delay(*table, "natt_after", race.natt_after);
  race.relay_after = read_delay(*table, "relay_after", race.relay_after);
  table->finish();
  return race;
}

ClientConfig read_client_config(TableReader& root, const std::filesystem::path& file) {
  ClientConfig config{read_program_tables(root, file, Hides::kNothing)};
  config.sites = read_sites(root, file, Role::kClient, kMaxSites);
  config.forwards = read_forwards(root, config.sites);
  config.socks = read_socks(root, config.sites, file);
  config.tun = read_tun(root, config.sites);
  config.race = read_race(root);
  config.probe_prefixes = read_probe_prefixes(root);
  return config;
}

}  // namespace

bool accepts_route(const ClientTun& tun, const IpPrefix& route) {
  return std::any_of(tun.accept_routes.begin(), tun.accept_routes.end(),
                     [&route](const IpPrefix& allowed) { return is_inside(route, allowed); });
}

Result<ClientConfig> load_client_config(const std::filesystem::path& file) {
  return load_with(file, parse_client_config);
}

Result<ClientConfig> parse_client_config(std::string_view text, const std::filesystem::path& file) {
  return parse_with(text, file, read_client_config);
}

}  // namespace natt::config
