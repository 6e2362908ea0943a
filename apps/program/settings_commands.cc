// SPDX-License-Identifier: Apache-2.0
#include "apps/program/settings_commands.h"

#include <nlohmann/json.hpp>

#include <natt/errc.h>

namespace natt::program {

using nlohmann::json;

namespace {

std::string text_of(const json& arguments, const char* name) {
  const auto found = arguments.find(name);
  return found != arguments.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<json> get(const config::NattSettings& settings, const json& arguments) {
  const std::string key = text_of(arguments, "key");
  const auto value = settings.get(key);
  if (!value) return tl::unexpected(value.error());
  return json{{"key", key}, {"value", *value}};
}

}  // namespace

void add_settings_commands(control::CommandTable& commands, config::NattSettings& settings,
                           std::function<void()> changed) {
  commands.add("config-get", control::Access::kRead,
               [&settings](const json& arguments) { return get(settings, arguments); });
  commands.add("config-set", control::Access::kWrite,
               [&settings, changed = std::move(changed)](const json& arguments) -> Result<json> {
                 const auto value = arguments.find("value");
                 std::optional<std::string> text;
                 if (value != arguments.end() && value->is_string()) text = value->get<std::string>();
                 if (auto set = settings.set(text_of(arguments, "key"), text); !set) {
                   return tl::unexpected(set.error());
                 }
                 changed();
                 return get(settings, arguments);
               });
}

}  // namespace natt::program
