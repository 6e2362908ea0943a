// SPDX-License-Identifier: Apache-2.0
#include "apps/config/gateway_config.h"

#include <algorithm>

#include <fmt/format.h>

#include "apps/config/address_block.h"
#include "apps/config/config_file.h"
#include "apps/config/program_tables.h"
#include "apps/config/site_table.h"

namespace natt::config {
namespace {

std::optional<ListenSpa> parse_listen_spa(std::string_view text) {
  if (text == "on") return ListenSpa::kOn;
  if (text == "off") return ListenSpa::kOff;
  return std::nullopt;
}

GatewayListen read_listen(TableReader& root) {
  GatewayListen listen;
  auto table = root.table("listen");
  if (!table) return listen;
  listen.address = table->parsed("address", IpAddress::parse, "an IP address").value_or(listen.address);
  listen.port = static_cast<std::uint16_t>(table->integer("port", 0, 65535).value_or(listen.port));
  listen.spa = table->parsed("spa", parse_listen_spa, "\"on\" or \"off\"").value_or(listen.spa);
  if (listen.spa == ListenSpa::kOff && !listen.address.is_loopback()) {
    table->complain("spa", "may be \"off\" on a loopback address only; set listen.address to \"127.0.0.1\" or \"::1\"");
  }
  table->finish();
  return listen;
}

void check_pool(TableReader& table, const std::vector<IpPrefix>& pool) {
  std::size_t four = 0;
  for (const IpPrefix& block : pool) {
    if (block.base.is_v4()) ++four;
    // The gateway and a client need an address each, beside the block's first and last.
    if (block.length > 126) table.complain("pool", "needs blocks of at least four addresses");
  }
  if (four > 1 || pool.size() - four > 1) table.complain("pool", "may have one IPv4 and one IPv6 block");
}

GatewayTun read_tun(TableReader& root) {
  GatewayTun tun;
  auto table = root.table("tun");
  if (!table) return tun;
  tun.enabled = table->boolean("enabled").value_or(tun.enabled);
  tun.name = table->text("name").value_or(tun.name);
  if (!is_interface_name(tun.name)) table->complain("name", "expected an interface name of 1 to 15 letters and digits");
  tun.pool = table->parsed_list("pool", 2, parse_block, "address blocks such as \"10.64.0.0/24\"");
  tun.routes = table->parsed_list("routes", kMaxPrefixes, parse_block, "address blocks such as \"10.99.0.0/24\"");
  if (tun.enabled && tun.pool.empty())
    table->complain("pool", "is missing: clients get their tunnel addresses out of it");
  check_pool(*table, tun.pool);
  table->finish();
  return tun;
}

gateway::Entitlement read_entitlement(TableReader& table, std::size_t& rules_left) {
  gateway::Entitlement entitlement;
  table.require("client");
  table.require("allow");
  entitlement.client = table.text("client").value_or("*");
  if (entitlement.client != "*" && !is_valid_name(entitlement.client)) {
    table.complain("client", "expected the name of a client of this site, or \"*\" for all of them");
  }
  for (const std::string& text : table.texts("allow", std::min(rules_left, gateway::kMaxRulesPerEntitlement))) {
    auto rule = gateway::parse_rule(text);
    if (rule) {
      entitlement.allow.push_back(std::move(*rule));
    } else {
      table.complain("allow", fmt::format("rule {}: {}", entitlement.allow.size() + 1, rule.error().message));
      break;
    }
  }
  rules_left -= entitlement.allow.size();
  table.finish();
  return entitlement;
}

GatewayConfig read_gateway_config(TableReader& root, const std::filesystem::path& file) {
  GatewayConfig config{read_program_tables(root, file, Hides::kUdp)};
  auto sites = read_sites(root, file, Role::kGateway, 1);
  if (!sites.empty()) config.site = std::move(sites.front());
  config.listen = read_listen(root);
  config.tun = read_tun(root);
  std::size_t rules_left = gateway::kMaxRules;
  for (TableReader& table : root.tables("entitlement", gateway::kMaxEntitlements)) {
    config.entitlements.push_back(read_entitlement(table, rules_left));
  }
  config.probe_prefixes = read_probe_prefixes(root);
  return config;
}

}  // namespace

Result<GatewayConfig> load_gateway_config(const std::filesystem::path& file) {
  return load_with(file, parse_gateway_config);
}

Result<GatewayConfig> parse_gateway_config(std::string_view text, const std::filesystem::path& file) {
  return parse_with(text, file, read_gateway_config);
}

}  // namespace natt::config
