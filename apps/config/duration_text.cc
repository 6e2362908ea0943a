// SPDX-License-Identifier: Apache-2.0
#include "apps/config/duration_text.h"

#include <charconv>
#include <cstdint>

namespace natt::config {
namespace {

constexpr Duration kLongest = std::chrono::hours(24);
constexpr std::size_t kMostDigits = 8;

std::optional<std::uint64_t> parse_digits(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.size() > kMostDigits || failed != std::errc{} || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<Duration> take_unit(std::string_view& text) {
  struct Unit {
    std::string_view name;
    Duration length;
  };
  // "ms" before "s" and "m": the longest name that fits is meant.
  for (const Unit& unit : {Unit{"ms", std::chrono::milliseconds(1)}, Unit{"s", std::chrono::seconds(1)},
                           Unit{"m", std::chrono::minutes(1)}}) {
    if (!text.ends_with(unit.name)) continue;
    text.remove_suffix(unit.name.size());
    return unit.length;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  const auto unit = take_unit(text);
  if (!unit) return std::nullopt;
  const std::size_t point = text.find('.');
  const auto whole = parse_digits(text.substr(0, point));
  if (!whole) return std::nullopt;
  Duration result = static_cast<std::int64_t>(*whole) * *unit;
  if (point != std::string_view::npos) {
    const std::string_view digits = text.substr(point + 1);
    const auto fraction = digits.size() <= 3 ? parse_digits(digits) : std::nullopt;
    if (!fraction) return std::nullopt;
    std::int64_t scale = 1;
    for (std::size_t i = 0; i < digits.size(); ++i) scale *= 10;
    result += static_cast<std::int64_t>(*fraction) * *unit / scale;
  }
  return result <= kLongest ? std::optional(result) : std::nullopt;
}

}  // namespace natt::config
