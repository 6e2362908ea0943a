// SPDX-License-Identifier: Apache-2.0
#include "apps/config/broker_config.h"

#include "apps/config/config_file.h"
#include "apps/config/program_tables.h"
#include "apps/config/site_table.h"

namespace natt::config {
namespace {

BrokerListen read_listen(TableReader& root) {
  BrokerListen listen;
  auto table = root.table("listen");
  if (!table) return listen;
  listen.address = table->parsed("address", IpAddress::parse, "an IP address").value_or(listen.address);
  listen.port = static_cast<std::uint16_t>(table->integer("port", 1, 65535).value_or(listen.port));
  listen.dns_port = static_cast<std::uint16_t>(table->integer("dns_port", 0, 65535).value_or(listen.dns_port));
  if (listen.dns_port == listen.port) table->complain("dns_port", "must differ from port");
  table->finish();
  return listen;
}

BrokerConfig read_broker_config(TableReader& root, const std::filesystem::path& file) {
  BrokerConfig config{read_program_tables(root, file, Hides::kUdpAndTcp)};
  config.sites = read_sites(root, file, Role::kBroker, kMaxSites);
  config.listen = read_listen(root);
  return config;
}

}  // namespace

Result<BrokerConfig> load_broker_config(const std::filesystem::path& file) {
  return load_with(file, parse_broker_config);
}

Result<BrokerConfig> parse_broker_config(std::string_view text, const std::filesystem::path& file) {
  return parse_with(text, file, read_broker_config);
}

}  // namespace natt::config
