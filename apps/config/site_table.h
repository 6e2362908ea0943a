// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads the `[[site]]` tables. Complaints go into the reader.

#include <filesystem>
#include <string>
#include <vector>

#include "apps/config/site_config.h"
#include "apps/config/toml_table.h"

namespace natt::config {

// At least one and at most `maximum` sites with different names, each with an identity of `role`.
[[nodiscard]] std::vector<SiteConfig> read_sites(TableReader& root, const std::filesystem::path& file, Role role,
                                                 std::size_t maximum);

// The `site` and `gateway` keys of a forward, of [socks] and of [tun]: the site may be left
// out when there is only one, the gateway always.
struct Destination {
  std::string site;
  std::string gateway;
};
[[nodiscard]] Destination read_destination(TableReader& table, const std::vector<SiteConfig>& sites);

}  // namespace natt::config
