// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/toml_values.h"

#include <fmt/format.h>

#include "apps/config/base64.h"

namespace natt::ctl {

std::string multi_line_value(std::string_view lines) {
  while (lines.ends_with('\n')) lines.remove_suffix(1);
  return fmt::format("\"\"\"\n{}\n\"\"\"", lines);
}

std::string base64_value(ByteView bytes) {
  constexpr std::size_t kLineLength = 76;
  const std::string text = config::base64_encode(bytes);
  std::string lines;
  for (std::size_t at = 0; at < text.size(); at += kLineLength) lines += text.substr(at, kLineLength) + "\n";
  return multi_line_value(lines);
}

std::string spa_keys_value(const std::vector<config::SpaKey>& keys) {
  std::string list;
  for (const config::SpaKey& key : keys) {
    list +=
        fmt::format("{}\"{}:{}\"", list.empty() ? "" : ", ", key.generation, config::base64_encode(key.secret.view()));
  }
  return fmt::format("[{}]", list);
}

}  // namespace natt::ctl
