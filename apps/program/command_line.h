// SPDX-License-Identifier: Apache-2.0
#pragma once

// `--config FILE [--check]`, the same for broker, gateway and client.

#include <filesystem>
#include <optional>

#include <natt/error.h>

#include "apps/config/program_config.h"

namespace natt::program {

struct CommandLine {
  std::filesystem::path config;
  // Only say whether the configuration is good.
  bool check = false;
};

// Absent: the program is to end with `status` (help, version, or a complaint was printed).
[[nodiscard]] std::optional<CommandLine> parse_command_line(int argc, char** argv, const char* name,
                                                            const char* description, int& status);

// One sentence on stderr, and the status to exit with.
[[nodiscard]] int complain(const char* program, const Error& error, config::ExitStatus status);

}  // namespace natt::program
