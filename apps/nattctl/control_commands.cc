// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/control_commands.h"

#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/nattctl/control_query.h"
#include "apps/nattctl/status_view.h"

namespace natt::ctl {
namespace {

constexpr unsigned kWatchSeconds = 1;
constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";

Result<std::filesystem::path> socket_of(const std::string& named) {
  if (!named.empty()) return std::filesystem::path(named);
  return find_socket();
}

// While watching, one document per line, so that a reader sees where each ends.
std::string output_of(const ViewArguments& arguments, const nlohmann::json& result) {
  if (!arguments.json) return render_view(arguments.command, result);
  return result.dump(arguments.watch ? -1 : 2) + "\n";
}

Result<void> print_setting(const std::string& named, const std::string& command, const nlohmann::json& question,
                           bool json) {
  const auto socket = socket_of(named);
  if (!socket) return tl::unexpected(socket.error());
  const auto result = query(*socket, command, question);
  if (!result) return tl::unexpected(result.error());
  if (json) {
    fmt::print("{}\n", result->dump(2));
  } else {
    const bool has_value = result->is_object() && result->contains("value");
    fmt::print("{}\n", has_value ? (*result)["value"].dump() : result->dump());
  }
  return {};
}

}  // namespace

Result<void> run_view(const ViewArguments& arguments) {
  const auto socket = socket_of(arguments.socket);
  if (!socket) return tl::unexpected(socket.error());
  const bool clears = arguments.watch && !arguments.json && ::isatty(STDOUT_FILENO) != 0;
  for (;;) {
    const auto result = query(*socket, arguments.command, nlohmann::json::object());
    if (!result) return tl::unexpected(result.error());
    fmt::print("{}{}", clears ? kClearScreen : "", output_of(arguments, *result));
    std::fflush(stdout);
    if (!arguments.watch) return {};
    ::sleep(kWatchSeconds);
  }
}

Result<void> run_config_get(const std::string& socket, const std::string& key, bool json) {
  return print_setting(socket, "config-get", {{"key", key}}, json);
}

Result<void> run_config_set(const std::string& socket, const std::string& key, const std::optional<std::string>& value,
                            bool json) {
  nlohmann::json question = {{"key", key}, {"value", nullptr}};
  if (value) question["value"] = *value;
  return print_setting(socket, "config-set", question, json);
}

}  // namespace natt::ctl
