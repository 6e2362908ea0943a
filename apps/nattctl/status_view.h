// SPDX-License-Identifier: Apache-2.0
#pragma once

// A program's JSON as text for people. Tolerates missing fields: the program may be
// older or newer than this nattctl.

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace natt::ctl {

// `command` is status, health, sites, sessions or nat-sockets; ends with a newline.
[[nodiscard]] std::string render_view(std::string_view command, const nlohmann::json& result);

}  // namespace natt::ctl
