// SPDX-License-Identifier: Apache-2.0
#include "apps/control/command_table.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace natt::control {
namespace {

// Deeper requests are none of ours; the parser itself recurses per level.
constexpr int kMaxDepth = 8;

// Peer-supplied text may hold octets that are no UTF-8: they come out replaced.
std::string to_line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string error_line(std::string_view sentence) { return to_line({{"ok", false}, {"error", sentence}}); }

nlohmann::json parse_request(std::string_view line) {
  const auto within_depth = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= kMaxDepth;
  };
  return nlohmann::json::parse(line, within_depth, false);
}

}  // namespace

void CommandTable::add(std::string name, Access access, Handler handler) {
  commands_.insert_or_assign(std::move(name), Command{access, std::move(handler)});
}

std::string CommandTable::run(std::string_view line, Caller caller) const {
  const nlohmann::json request = parse_request(line);
  if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
    return error_line("the request is not a JSON object with a \"command\"");
  }
  const auto& name = request["command"].get_ref<const std::string&>();
  const auto found = commands_.find(name);
  if (found == commands_.end()) return error_line("this program has no such command");
  if (found->second.access == Access::kWrite && caller != Caller::kOwner) {
    return error_line("only root and the user that runs the program may change its settings");
  }
  const nlohmann::json arguments = request.value("arguments", nlohmann::json::object());
  if (!arguments.is_object()) return error_line("\"arguments\" is not a JSON object");
  Result<nlohmann::json> result = found->second.handler(arguments);
  if (!result) return error_line(result.error().message);
  return to_line({{"ok", true}, {"result", std::move(*result)}});
}

}  // namespace natt::control
