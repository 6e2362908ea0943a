// SPDX-License-Identifier: Apache-2.0
#pragma once

// Asks a running program over its control socket. Blocking, for nattctl only.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <natt/error.h>

namespace natt::ctl {

// The program's `result`, or its error, or why it cannot be asked.
[[nodiscard]] Result<nlohmann::json> query(const std::filesystem::path& socket, const std::string& command,
                                           const nlohmann::json& arguments);

// The socket to ask when the command line names none: $NATT_SOCKET, else the only one
// that a program serves in the usual places (state-*/control.sock or *.sock in the working
// folder, in /etc/natt, and in natt, natt-broker and natt-gateway below /var/lib and /run).
[[nodiscard]] Result<std::filesystem::path> find_socket();

}  // namespace natt::ctl
