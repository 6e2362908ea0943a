// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/device_file.h"

#include <fmt/format.h>

#include "apps/config/base64.h"
#include "apps/nattctl/toml_values.h"

namespace natt::ctl {
namespace {

constexpr std::string_view kBrokerSettings = R"(
# [listen]
# address = "0.0.0.0"   # default: every address, IPv4 and IPv6
# port = 443            # UDP and TCP
# dns_port = 53         # UDP
# [natt]
# relaySessionsThreshold = 1000
# relayThroughputBitsPerSecondThreshold = 1000000000
# stunKeepaliveInterval = 15
)";

constexpr std::string_view kGatewaySettings = R"(
# [listen]
# address = "0.0.0.0"   # default: every address, IPv4 and IPv6
# port = 443
# [tun]
# enabled = true
# pool = "10.64.0.0/24"        # clients' addresses in the tunnel
# routes = ["10.99.0.0/24"]    # what clients reach through it
)";

constexpr std::string_view kClientSettings = R"(
# [[forward]]
# listen = "127.0.0.1:8080"
# target = "10.99.0.5:80"
# [socks]
# listen = "127.0.0.1:1080"
# [tun]
# enabled = true
# accept_routes = ["10.0.0.0/8"]   # default: private addresses
# [race]
# natt_after = "300ms"
# relay_after = "2.5s"
)";

std::string_view settings_of(Role role) {
  switch (role) {
    case Role::kBroker: return kBrokerSettings;
    case Role::kGateway: return kGatewaySettings;
    case Role::kClient: return kClientSettings;
  }
  return {};
}

std::string listen_table(const DeviceFile& device) {
  std::string lines;
  if (device.port != 443) lines += fmt::format("port = {}\n", device.port);
  if (device.dns_port != 53) lines += fmt::format("dns_port = {}\n", device.dns_port);
  return lines.empty() ? "" : "\n[listen]\n" + lines;
}

std::string entitlement_table(const DeviceFile& device, const SiteRecord& site) {
  if (device.identity.role != Role::kGateway) return {};
  if (site.allow.empty()) {
    return "\n# Nothing is allowed until a rule says so:\n# [[entitlement]]\n# client = \"*\"   # or one client's "
           "name\n"
           "# allow = [\"tcp/10.99.0.0/24:1-65535\"]\n";
  }
  std::string rules;
  for (const std::string& rule : site.allow) rules += fmt::format("{}\"{}\"", rules.empty() ? "" : ", ", rule);
  return fmt::format("\n[[entitlement]]\nclient = \"*\"\nallow = [{}]\n", rules);
}

std::string site_table(const DeviceFile& device, const SiteRecord& site) {
  return fmt::format(
      "\n[[site]]\nname = \"{}\"\nidentity = \"{}\"\nprotocol = \"{}\"\npsk = \"{}\"\nspa_keys = {}\n"
      "certificate = {}\nprivate_key = {}\nca = {}\nroster_file = \"roster\"\nroster = {}\n",
      site.name, device.identity.uri(), to_string(site.protocol), config::base64_encode(site.psk.view()),
      spa_keys_value(device.secrets.spa_keys), multi_line_value(device.secrets.certificate_pem),
      multi_line_value(device.secrets.private_key_pem), multi_line_value(device.ca_pem),
      base64_value(device.secrets.roster));
}

// Which brokers differ: for whoever connects to them. Behind the site's own keys.
std::string broker_tables(const DeviceFile& device, const SiteRecord& site) {
  std::string text;
  if (device.identity.role == Role::kBroker) return text;
  for (const auto& [broker, mode] : site.broker_modes) {
    text += fmt::format("\n[[site.broker]]\nname = \"{}\"\nspa_mode = \"{}\"\n", broker, to_string(mode));
  }
  return text;
}

}  // namespace

std::string render_device_file(const DeviceFile& device, const SiteRecord& site) {
  std::string text = fmt::format(
      "# natt: {} {} of site {}. Written by nattctl; docs/OPERATIONS.md describes every key.\n"
      "# Holds secret keys: keep it 0600. The program reads a changed file again on SIGHUP.\n",
      to_string(device.identity.role), device.identity.name, site.name);
  text += settings_of(device.identity.role);
  const bool is_broker = device.identity.role == Role::kBroker;
  const config::SpaMode mode = is_broker ? site.mode_of(device.identity.name) : site.spa_mode;
  if (mode != config::SpaMode::kUdpTcp) text += fmt::format("\n[spa]\nmode = \"{}\"\n", to_string(mode));
  text += listen_table(device);
  text += entitlement_table(device, site);
  text += site_table(device, site);
  text += broker_tables(device, site);
  return text;
}

}  // namespace natt::ctl
