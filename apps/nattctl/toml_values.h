// SPDX-License-Identifier: Apache-2.0
#pragma once

// How nattctl writes values into configuration files.

#include <string>
#include <string_view>
#include <vector>

#include <natt/bytes.h>

#include "apps/config/site_config.h"

namespace natt::ctl {

// A multi-line string; `lines` has no backslash and no quote (PEM, base64).
[[nodiscard]] std::string multi_line_value(std::string_view lines);
// Base64 in lines of 76 characters (RFC 2045), as a multi-line string.
[[nodiscard]] std::string base64_value(ByteView bytes);
// ["1:BASE64", ...]
[[nodiscard]] std::string spa_keys_value(const std::vector<config::SpaKey>& keys);

}  // namespace natt::ctl
