// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads one TOML table key by key and remembers what was asked for, so that what was
// not asked for is reported as unknown. The first complaint wins; after it every read
// returns nothing, and the caller looks once, at the end. Values are never quoted in a
// complaint: they may be secrets. Views of the parsed document, which has to outlive them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <natt/error.h>
#include <natt/secret.h>

#include "apps/config/toml.h"

namespace natt::config {

// Any value of a file may be a secret: copies do not stay behind.
inline void wipe_text(std::string& text) {
  secure_zero({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
}

// Where the first complaint about a file is kept.
class Complaints {
 public:
  explicit Complaints(std::filesystem::path file) : file_(std::move(file)) {}
  // `line` 0: about the whole file.
  void report(std::uint32_t line, std::string_view key, std::string_view sentence);
  [[nodiscard]] const std::optional<Error>& first() const { return first_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  std::optional<Error> first_;
};

class TableReader {
 public:
  // `path` is how the table is named in complaints: "" for the whole file, "site[2]", "listen".
  TableReader(const toml::table& table, std::string path, Complaints& complaints);

  [[nodiscard]] std::optional<std::string> text(std::string_view key);
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key, std::int64_t minimum, std::int64_t maximum);
  [[nodiscard]] std::optional<bool> boolean(std::string_view key);
  // One string or an array of at most `maximum` strings.
  [[nodiscard]] std::vector<std::string> texts(std::string_view key, std::size_t maximum);
  [[nodiscard]] std::optional<TableReader> table(std::string_view key);
  // An array of at most `maximum` tables.
  [[nodiscard]] std::vector<TableReader> tables(std::string_view key, std::size_t maximum);
  // An integer or a string, for values that may be written both ways.
  [[nodiscard]] const toml::node* node(std::string_view key);

  // Whether anything in the file was complained about.
  [[nodiscard]] bool has_failed() const { return complaints_->first().has_value(); }
  [[nodiscard]] bool has(std::string_view key) const { return table_->contains(key); }
  // Complains at the line of the key, or of the table when the key is missing.
  void complain(std::string_view key, std::string_view sentence);
  void require(std::string_view key);
  // To be called after the last read: complains about a key that nothing asked for.
  void finish();

  // `parse` gives nothing for bad text; `form` completes "expected ...".
  template <typename T>
  [[nodiscard]] std::optional<T> parsed(std::string_view key, std::optional<T> (*parse)(std::string_view),
                                        std::string_view form) {
    auto value = text(key);
    if (!value) return std::nullopt;
    auto result = parse(*value);
    wipe_text(*value);
    if (!result) complain(key, "expected " + std::string(form));
    return result;
  }
  template <typename T>
  [[nodiscard]] std::vector<T> parsed_list(std::string_view key, std::size_t maximum,
                                           std::optional<T> (*parse)(std::string_view), std::string_view form) {
    std::vector<T> results;
    for (std::string& value : texts(key, maximum)) {
      auto result = parse(value);
      wipe_text(value);
      if (!result) {
        complain(key, "expected " + std::string(form));
        return {};
      }
      results.push_back(std::move(*result));
    }
    return results;
  }

 private:
  [[nodiscard]] std::string name_of(std::string_view key) const;
  [[nodiscard]] std::uint32_t line_of(std::string_view key) const;

  const toml::table* table_;
  std::string path_;
  Complaints* complaints_;
  std::set<std::string, std::less<>> asked_;
};

// Parses the text of a TOML file; a syntax error becomes a complaint.
[[nodiscard]] std::optional<toml::table> parse_toml(std::string_view text, Complaints& complaints);

}  // namespace natt::config
