// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads the tables of program_config.h. Complaints go into the reader.

#include <filesystem>
#include <string_view>

#include "apps/config/program_config.h"
#include "apps/config/toml_table.h"

namespace natt::config {

// What a program has to hide, with a kernel gate in front: nothing, a UDP socket, or a TCP listener as well.
enum class Hides { kNothing, kUdp, kUdpAndTcp };
// What every file has, read from the root of `file`.
[[nodiscard]] ProgramConfig read_program_tables(TableReader& root, const std::filesystem::path& file,
                                                Hides hides);

// `[probe] prefixes`.
[[nodiscard]] std::vector<IpPrefix> read_probe_prefixes(TableReader& root);

// ADDRESS:PORT to listen on; 0 would be a port that nobody knows.
[[nodiscard]] std::optional<SocketAddress> parse_listen(std::string_view text);

// Relative paths count from the folder of the configuration file.
[[nodiscard]] std::filesystem::path resolve_path(std::string_view text, const std::filesystem::path& file);

// The form of an interface name that Linux takes (IFNAMSIZ: 15 octets).
[[nodiscard]] bool is_interface_name(std::string_view name);

inline constexpr std::size_t kMaxPrefixes = 256;

}  // namespace natt::config
