// SPDX-License-Identifier: Apache-2.0
#pragma once

// "300ms", "2.5s", "1m": durations as an operator writes them.

#include <optional>
#include <string_view>

#include <natt/time.h>

namespace natt::config {

// A decimal number with at most three digits behind the point and a unit (ms, s, m).
// Nothing for anything else, and for more than a day.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

}  // namespace natt::config
