// SPDX-License-Identifier: Apache-2.0
#pragma once

// What loading a broker's, a gateway's and a client's file has in common.

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <natt/error.h>
#include <natt/secret.h>

#include "apps/config/state_dir.h"
#include "apps/config/toml_table.h"

namespace natt::config {

// A broker's file embeds the roster: 200,000 devices in base64, and some room.
inline constexpr std::size_t kMaxConfigBytes = 64u << 20;

// Overwrites every string of a parsed document.
void wipe(toml::table& table);

// Reads `file` and hands its text to `parse`, with the file's absolute name.
template <typename Config>
[[nodiscard]] Result<Config> load_with(const std::filesystem::path& file,
                                       Result<Config> (*parse)(std::string_view, const std::filesystem::path&)) {
  std::error_code failed;
  const std::filesystem::path absolute = std::filesystem::absolute(file, failed);
  auto text = read_file(failed ? file : absolute, kMaxConfigBytes, Exposure::kSecret);
  if (!text) return tl::unexpected(std::move(text.error()));
  Result<Config> config = parse(*text, failed ? file : absolute);
  secure_zero({reinterpret_cast<std::uint8_t*>(text->data()), text->size()});
  return config;
}

// Parses `text` and hands the root table to `read`, which complains about what is wrong.
template <typename Config>
[[nodiscard]] Result<Config> parse_with(std::string_view text, const std::filesystem::path& file,
                                        Config (*read)(TableReader&, const std::filesystem::path&)) {
  Complaints complaints(file);
  auto document = parse_toml(text, complaints);
  if (!document) return tl::unexpected(*complaints.first());
  TableReader root(*document, "", complaints);
  Config config = read(root, file);
  root.finish();
  wipe(*document);
  if (complaints.first()) return tl::unexpected(*complaints.first());
  return config;
}

}  // namespace natt::config
