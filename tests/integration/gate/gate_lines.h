// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a gate logs.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <natt/log.h>

namespace natt::test {

class Lines {
 public:
  [[nodiscard]] LogSink sink() {
    return {.write = [](void* lines, LogLevel, std::string_view line) {
              static_cast<Lines*>(lines)->lines_.emplace_back(line);
            },
            .context = this};
  }
  [[nodiscard]] std::ptrdiff_t count(std::string_view start) const {
    return std::count_if(lines_.begin(), lines_.end(), [start](const auto& line) { return line.starts_with(start); });
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace natt::test
