// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where the libraries' log lines go: a function and its context, passed in the
// options of each object. Absent means silent; there is no global logger.
//
// A line is a stable event name and key=value pairs ("natt.punch.ok remote=...").
// State changes are info; what happens per packet, and every line a stranger can
// cause, is debug. Secrets are never formatted.

#include <cstdint>
#include <string_view>

namespace natt {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

struct LogSink {
  // Called on the loop's thread; must not call back into the library.
  void (*write)(void* context, LogLevel level, std::string_view line) = nullptr;
  void* context = nullptr;
  LogLevel minimum = LogLevel::kInfo;

  [[nodiscard]] bool enabled(LogLevel level) const { return write != nullptr && level >= minimum; }
  void operator()(LogLevel level, std::string_view line) const {
    if (enabled(level)) write(context, level, line);
  }
};

}  // namespace natt
