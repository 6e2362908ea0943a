// SPDX-License-Identifier: Apache-2.0
#include "apps/config/natt_settings.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "apps/config/state_dir.h"
#include "apps/config/toml_table.h"

namespace natt::config {
namespace {

constexpr std::size_t kMaxSettingsBytes = 4096;
constexpr std::string_view kPrefix = "natt/";

struct Setting {
  std::string_view name;  // behind "natt/"
  std::int64_t minimum;
  std::int64_t maximum;
};

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::array<Setting, 3> kSettings = {{{"relaySessionsThreshold", 0, kMost},
                                               {"relayThroughputBitsPerSecondThreshold", 0, kMost},
                                               {"stunKeepaliveInterval", kMinStunKeepalive, kMaxStunKeepalive}}};

tl::unexpected<Error> complain(std::string message) {
  return fail(std::make_error_code(std::errc::invalid_argument), std::move(message));
}

Result<std::size_t> index_of(std::string_view key) {
  for (std::size_t i = 0; i < kSettings.size(); ++i) {
    if (key.starts_with(kPrefix) && key.substr(kPrefix.size()) == kSettings[i].name) return i;
  }
  std::string known;
  for (const Setting& setting : kSettings) known += fmt::format(" {}{}", kPrefix, setting.name);
  return complain(fmt::format("{}: unknown key (known:{})", key, known));
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failed != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

std::uint64_t value_of(const NattConfig& config, std::size_t index) {
  if (index == 0) return config.relay_sessions_threshold;
  if (index == 1) return config.relay_throughput_bits_per_second_threshold;
  return static_cast<std::uint64_t>(config.stun_keepalive_interval.count());
}

}  // namespace

NattSettings::NattSettings(const NattConfig& file_values, std::filesystem::path file)
    : file_values_(file_values), values_(file_values), file_(std::move(file)) {}

Result<NattSettings> NattSettings::load(const NattConfig& file_values, const std::filesystem::path& state_dir) {
  NattSettings settings(file_values, state_dir / "natt-settings.toml");
  std::error_code failed;
  if (!std::filesystem::exists(settings.file_, failed)) return settings;
  if (auto read = settings.read_overrides(); !read) return tl::unexpected(std::move(read.error()));
  settings.apply();
  return settings;
}

Result<void> NattSettings::read_overrides() {
  const auto text = read_file(file_, kMaxSettingsBytes, Exposure::kPublic);
  if (!text) return tl::unexpected(text.error());
  Complaints complaints(file_);
  const auto document = parse_toml(*text, complaints);
  if (document) {
    TableReader root(*document, "", complaints);
    for (std::size_t i = 0; i < kSettings.size(); ++i) {
      const auto value = root.integer(kSettings[i].name, kSettings[i].minimum, kSettings[i].maximum);
      if (value) overrides_[i] = static_cast<std::uint64_t>(*value);
    }
    root.finish();
  }
  if (complaints.first()) return tl::unexpected(*complaints.first());
  return {};
}

Result<void> NattSettings::write_overrides(const Overrides& overrides) const {
  std::string text = "# Set by nattctl config set; wins over [natt] of the configuration file.\n";
  for (std::size_t i = 0; i < kSettings.size(); ++i) {
    if (overrides[i]) text += fmt::format("{} = {}\n", kSettings[i].name, *overrides[i]);
  }
  return write_file_atomically(file_, as_bytes(text));
}

void NattSettings::apply() {
  values_.relay_sessions_threshold = overrides_[0].value_or(file_values_.relay_sessions_threshold);
  values_.relay_throughput_bits_per_second_threshold =
      overrides_[1].value_or(file_values_.relay_throughput_bits_per_second_threshold);
  values_.stun_keepalive_interval = overrides_[2] ? std::chrono::seconds(static_cast<std::int64_t>(*overrides_[2]))
                                                  : file_values_.stun_keepalive_interval;
}

void NattSettings::reload(const NattConfig& file_values) {
  file_values_ = file_values;
  apply();
}

Result<std::uint64_t> NattSettings::get(std::string_view key) const {
  const auto index = index_of(key);
  if (!index) return tl::unexpected(index.error());
  return value_of(values_, *index);
}

Result<bool> NattSettings::is_overridden(std::string_view key) const {
  const auto index = index_of(key);
  if (!index) return tl::unexpected(index.error());
  return overrides_[*index].has_value();
}

Result<void> NattSettings::set(std::string_view key, std::optional<std::string_view> value) {
  const auto index = index_of(key);
  if (!index) return tl::unexpected(index.error());
  Overrides changed = overrides_;
  changed[*index].reset();
  if (value) {
    const Setting& setting = kSettings[*index];
    const auto number = parse_integer(*value);
    if (!number || *number < setting.minimum || *number > setting.maximum) {
      return complain(fmt::format("{}: expected an integer from {} to {}", key, setting.minimum, setting.maximum));
    }
    changed[*index] = static_cast<std::uint64_t>(*number);
  }
  if (auto written = write_overrides(changed); !written) return written;
  overrides_ = changed;
  apply();
  return {};
}

}  // namespace natt::config
