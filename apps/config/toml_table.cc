// SPDX-License-Identifier: Apache-2.0
#include "apps/config/toml_table.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace natt::config {
namespace {

// toml++ quotes what it met, which may be a piece of a secret. Names of tables and
// keys ("cannot redefine existing ... 'site.name'") are worth keeping.
std::string without_quotes_of_values(std::string_view description) {
  constexpr std::string_view kHarmless = "cannot redefine";
  if (description.find(kHarmless) != std::string_view::npos) return std::string(description);
  std::string_view kept = description.substr(0, description.find('\''));
  for (const std::string_view tail : {" saw ", ": ", ", ", "; "}) {
    if (kept.ends_with(tail)) kept.remove_suffix(tail.size());
  }
  return std::string(kept);
}

bool is_key_octet(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

// The key in front of '=' on the given line (from 1), when there is one.
std::string key_on_line(std::string_view text, std::uint32_t line) {
  for (; line > 1; --line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {};
  std::string key(text.substr(0, equals));
  std::erase_if(key, [](char c) { return c == ' ' || c == '\t'; });
  constexpr std::size_t kLongestKey = 64;  // a longer one is no key of ours but pasted base64
  return !key.empty() && key.size() <= kLongestKey && std::all_of(key.begin(), key.end(), is_key_octet) ? key : "";
}

}  // namespace

void Complaints::report(std::uint32_t line, std::string_view key, std::string_view sentence) {
  if (first_) return;
  std::string message = file_.string();
  if (line > 0) message += fmt::format(":{}", line);
  message += key.empty() ? fmt::format(": {}", sentence) : fmt::format(": {}: {}", key, sentence);
  first_ = Error{std::make_error_code(std::errc::invalid_argument), std::move(message)};
}

TableReader::TableReader(const toml::table& table, std::string path, Complaints& complaints)
    : table_(&table), path_(std::move(path)), complaints_(&complaints) {}

std::string TableReader::name_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

std::uint32_t TableReader::line_of(std::string_view key) const {
  const toml::node* value = table_->get(key);
  return value != nullptr && value->source().begin.line > 0 ? value->source().begin.line : table_->source().begin.line;
}

void TableReader::complain(std::string_view key, std::string_view sentence) {
  complaints_->report(line_of(key), name_of(key), sentence);
}

const toml::node* TableReader::node(std::string_view key) {
  asked_.emplace(key);
  return complaints_->first() ? nullptr : table_->get(key);
}

void TableReader::require(std::string_view key) {
  if (!has(key)) complain(key, "is missing");
}

std::optional<std::string> TableReader::text(std::string_view key) {
  const toml::node* value = node(key);
  if (value == nullptr) return std::nullopt;
  const auto result = value->value_exact<std::string>();
  if (!result) complain(key, "expected a string");
  return result;
}

std::optional<std::int64_t> TableReader::integer(std::string_view key, std::int64_t minimum, std::int64_t maximum) {
  const toml::node* value = node(key);
  if (value == nullptr) return std::nullopt;
  const auto result = value->value_exact<std::int64_t>();
  if (result && *result >= minimum && *result <= maximum) return result;
  complain(key, fmt::format("expected an integer from {} to {}", minimum, maximum));
  return std::nullopt;
}

std::optional<bool> TableReader::boolean(std::string_view key) {
  const toml::node* value = node(key);
  if (value == nullptr) return std::nullopt;
  const auto result = value->value_exact<bool>();
  if (!result) complain(key, "expected true or false");
  return result;
}

std::vector<std::string> TableReader::texts(std::string_view key, std::size_t maximum) {
  const toml::node* value = node(key);
  if (value == nullptr) return {};
  if (const auto one = value->value_exact<std::string>()) return {*one};
  const toml::array* list = value->as_array();
  if (list == nullptr || list->size() > maximum) {
    complain(key, fmt::format("expected a string or a list of at most {} strings", maximum));
    return {};
  }
  std::vector<std::string> results;
  for (const toml::node& element : *list) {
    const auto one = element.value_exact<std::string>();
    if (!one) {
      complain(key, "expected a list of strings only");
      return {};
    }
    results.push_back(*one);
  }
  return results;
}

std::optional<TableReader> TableReader::table(std::string_view key) {
  const toml::node* value = node(key);
  if (value == nullptr) return std::nullopt;
  const toml::table* table = value->as_table();
  if (table != nullptr) return TableReader(*table, name_of(key), *complaints_);
  complain(key, fmt::format("expected a table, written [{}]", name_of(key)));
  return std::nullopt;
}

std::vector<TableReader> TableReader::tables(std::string_view key, std::size_t maximum) {
  const toml::node* value = node(key);
  if (value == nullptr) return {};
  const toml::array* list = value->as_array();
  if (list == nullptr || list->size() > maximum) {
    complain(key, fmt::format("expected at most {} tables, each written [[{}]]", maximum, name_of(key)));
    return {};
  }
  std::vector<TableReader> results;
  for (const toml::node& element : *list) {
    if (const toml::table* table = element.as_table(); table != nullptr) {
      results.emplace_back(*table, fmt::format("{}[{}]", name_of(key), results.size() + 1), *complaints_);
    } else {
      complain(key, fmt::format("expected tables only, each written [[{}]]", name_of(key)));
      return {};
    }
  }
  return results;
}

void TableReader::finish() {
  for (const auto& [key, value] : *table_) {
    if (asked_.contains(key.str())) continue;
    std::string known;
    for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
    const std::uint32_t line = key.source().begin.line;
    complaints_->report(line > 0 ? line : line_of(key.str()), name_of(key.str()),
                        fmt::format("unknown key (known here: {})", known));
    return;
  }
}

std::optional<toml::table> parse_toml(std::string_view text, Complaints& complaints) {
  toml::parse_result result = toml::parse(text);
  if (result.succeeded()) return std::move(result).table();
  const toml::parse_error& error = result.error();
  const std::uint32_t line = error.source().begin.line;
  complaints.report(line, key_on_line(text, line),
                    fmt::format("not valid TOML: {}", without_quotes_of_values(error.description())));
  return std::nullopt;
}

}  // namespace natt::config
