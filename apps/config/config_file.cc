// SPDX-License-Identifier: Apache-2.0
#include "apps/config/config_file.h"

namespace natt::config {
namespace {

void wipe_node(toml::node& node) {
  if (auto* text = node.as_string(); text != nullptr) {
    std::string& value = text->get();
    secure_zero({reinterpret_cast<std::uint8_t*>(value.data()), value.size()});
  } else if (auto* list = node.as_array(); list != nullptr) {
    for (toml::node& element : *list) wipe_node(element);
  } else if (auto* table = node.as_table(); table != nullptr) {
    wipe(*table);
  }
}

}  // namespace

void wipe(toml::table& table) {
  for (auto&& [key, node] : table) wipe_node(node);
}

}  // namespace natt::config
