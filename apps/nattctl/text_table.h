// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tables for people: columns as wide as their widest cell.

#include <string>
#include <vector>

namespace natt::ctl {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header);
  // As many cells as the header has.
  void add(std::vector<std::string> row);
  [[nodiscard]] bool empty() const { return rows_.size() == 1; }
  [[nodiscard]] std::string render() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the first one is the header
};

}  // namespace natt::ctl
