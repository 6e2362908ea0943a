// SPDX-License-Identifier: Apache-2.0
#pragma once

// status, health, sites, sessions, nat-sockets and config: what the command line gave, asked
// of a running program and printed.

#include <filesystem>
#include <optional>
#include <string>

#include <natt/error.h>

namespace natt::ctl {

struct ViewArguments {
  std::string socket;  // empty: find_socket()
  std::string command;
  bool json = false;
  bool watch = false;  // again every second until interrupted
};

[[nodiscard]] Result<void> run_view(const ViewArguments& arguments);
[[nodiscard]] Result<void> run_config_get(const std::string& socket, const std::string& key, bool json);
// No value: back to the one in the configuration file.
[[nodiscard]] Result<void> run_config_set(const std::string& socket, const std::string& key,
                                          const std::optional<std::string>& value, bool json);

}  // namespace natt::ctl
