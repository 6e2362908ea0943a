// SPDX-License-Identifier: Apache-2.0
// Exchanges values inside a configuration file at the places where the TOML parser
// found them, so that an operator's settings, order and comments survive a renewal.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "apps/config/toml.h"
#include "apps/config/toml_table.h"
#include "apps/nattctl/device_file.h"
#include "apps/nattctl/toml_values.h"

namespace natt::ctl {
namespace {

struct Replacement {
  std::size_t begin;
  std::size_t end;
  std::string value;
};

bool continues_code_point(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// The parser counts lines and columns from 1, columns in code points.
std::size_t offset_of(std::string_view text, toml::source_position position) {
  std::size_t at = 0;
  for (toml::source_index line = 1; line < position.line && at < text.size(); ++line) {
    at = std::min(text.find('\n', at), text.size() - 1) + 1;
  }
  for (toml::source_index column = 1; column < position.column && at < text.size(); ++column) {
    ++at;
    while (at < text.size() && continues_code_point(text[at])) ++at;
  }
  return at;
}

const toml::table* find_site(const toml::table& document, std::string_view name) {
  const toml::array* sites = document["site"].as_array();
  if (sites == nullptr) return nullptr;
  for (const toml::node& node : *sites) {
    const toml::table* site = node.as_table();
    if (site != nullptr && (*site)["name"].value_or(std::string_view()) == name) return site;
  }
  return nullptr;
}

}  // namespace

Result<std::string> renew_device_file(std::string_view text, const std::filesystem::path& file, std::string_view site,
                                      const DeviceSecrets& secrets) {
  config::Complaints complaints(file);
  const auto document = config::parse_toml(text, complaints);
  if (!document) return tl::unexpected(*complaints.first());
  const toml::table* table = find_site(*document, site);
  std::vector<Replacement> replacements;
  const std::pair<std::string_view, std::string> values[] = {{"certificate", multi_line_value(secrets.certificate_pem)},
                                                             {"private_key", multi_line_value(secrets.private_key_pem)},
                                                             {"spa_keys", spa_keys_value(secrets.spa_keys)},
                                                             {"roster", base64_value(secrets.roster)}};
  for (const auto& [key, value] : values) {
    const toml::node* node = table == nullptr ? nullptr : table->get(key);
    if (node == nullptr) {
      complaints.report(0, fmt::format("site.{}", key), fmt::format("is missing in [[site]] \"{}\"", site));
      return tl::unexpected(*complaints.first());
    }
    replacements.push_back({offset_of(text, node->source().begin), offset_of(text, node->source().end), value});
  }
  std::sort(replacements.begin(), replacements.end(),
            [](const Replacement& a, const Replacement& b) { return a.begin > b.begin; });
  std::string result(text);
  for (const Replacement& each : replacements) result.replace(each.begin, each.end - each.begin, each.value);
  return result;
}

}  // namespace natt::ctl
