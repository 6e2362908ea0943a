// SPDX-License-Identifier: Apache-2.0
#pragma once

// broker.toml. `load_broker_config` reads it completely or says which line and key
// is wrong; it never hands out a half-filled configuration. Value type.

#include <filesystem>
#include <string_view>
#include <vector>

#include <natt/error.h>

#include "apps/config/program_config.h"

namespace natt::config {

struct BrokerListen {
  IpAddress address;            // unspecified: every address of the host, IPv4 and IPv6
  std::uint16_t port = 443;     // UDP and TCP
  std::uint16_t dns_port = 53;  // UDP; 0: do not listen there (NAT behaviour discovery loses its second port)
};

struct BrokerConfig : ProgramConfig {
  BrokerListen listen;
  std::vector<SiteConfig> sites;  // at least one; names differ
};

// Errors: one sentence `FILE:LINE: KEY: what is wrong`, never with a secret's value.
// The program prints it and exits with ExitStatus::kConfig.
[[nodiscard]] Result<BrokerConfig> load_broker_config(const std::filesystem::path& file);
// The same for text that was read already; `file` (absolute) is what paths count from.
[[nodiscard]] Result<BrokerConfig> parse_broker_config(std::string_view text, const std::filesystem::path& file);

}  // namespace natt::config
