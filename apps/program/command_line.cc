// SPDX-License-Identifier: Apache-2.0
#include "apps/program/command_line.h"

#include <cstdio>

#include <CLI/CLI.hpp>

namespace natt::program {

std::optional<CommandLine> parse_command_line(int argc, char** argv, const char* name, const char* description,
                                              int& status) {
  CommandLine line;
  CLI::App app(description, name);
  app.set_version_flag("--version", std::string(name) + " " NATT_VERSION);
  app.add_option("--config", line.config, "Configuration file")->required();
  app.add_flag("--check", line.check, "Check the configuration and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    status = code == 0 ? static_cast<int>(config::ExitStatus::kOk) : static_cast<int>(config::ExitStatus::kConfig);
    return std::nullopt;
  }
  return line;
}

int complain(const char* program, const Error& error, config::ExitStatus status) {
  std::fprintf(stderr, "%s: %s\n", program, error.message.c_str());
  return static_cast<int>(status);
}

}  // namespace natt::program
