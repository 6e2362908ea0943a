// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the readers of configuration files say against a text.

#include <filesystem>
#include <string>

#include "apps/config/broker_config.h"
#include "apps/config/client_config.h"
#include "apps/config/gateway_config.h"

namespace natt::test {

inline const std::filesystem::path kConfigFile = "/etc/natt/device.toml";

// The complaint about `text`, read as the file of `role`; empty when there is none.
[[nodiscard]] inline std::string complaint(Role role, const std::string& text) {
  switch (role) {
    case Role::kBroker: {
      const auto config = config::parse_broker_config(text, kConfigFile);
      return config ? "" : config.error().message;
    }
    case Role::kGateway: {
      const auto config = config::parse_gateway_config(text, kConfigFile);
      return config ? "" : config.error().message;
    }
    case Role::kClient: {
      const auto config = config::parse_client_config(text, kConfigFile);
      return config ? "" : config.error().message;
    }
  }
  return {};
}

}  // namespace natt::test
