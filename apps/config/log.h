// SPDX-License-Identifier: Apache-2.0
#pragma once

// Log lines of the programs: stderr, one line each, "2026-01-31T08:00:00.123Z info
// natt.punch.ok remote=...". The libraries write through `sink()`. Control characters
// in a line (peer-supplied text) come out escaped. Resource type.

#include <memory>
#include <string_view>

#include <natt/log.h>

namespace natt::config {

class Log {
 public:
  explicit Log(LogLevel level);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Valid as long as this object. The level is the one at the time of the call:
  // take it after set_level.
  [[nodiscard]] LogSink sink();
  void set_level(LogLevel level);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Prints `ready` and a newline on stdout, flushed: the program serves from now on. It
// is the only thing the programs ever print there.
void announce_ready();

}  // namespace natt::config
