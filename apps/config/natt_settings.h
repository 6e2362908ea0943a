// SPDX-License-Identifier: Apache-2.0
#pragma once

// The three `natt/...` keys while a program runs: the file's values, over them what
// `nattctl config set` changed. Changes are kept in `<state dir>/natt-settings.toml` and
// win over the file until the same key is set back (set without a value). Resource type.

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include <natt/error.h>

#include "apps/config/program_config.h"

namespace natt::config {

class NattSettings {
 public:
  // Reads what earlier runs kept. A kept file that cannot be read is an error that names it.
  [[nodiscard]] static Result<NattSettings> load(const NattConfig& file_values, const std::filesystem::path& state_dir);

  // The values in force; read them anew after every set or reload.
  [[nodiscard]] const NattConfig& values() const { return values_; }
  // After SIGHUP.
  void reload(const NattConfig& file_values);

  // Keys "natt/relaySessionsThreshold", "natt/relayThroughputBitsPerSecondThreshold",
  // "natt/stunKeepaliveInterval". An unknown key or bad value is an error that names it.
  [[nodiscard]] Result<std::uint64_t> get(std::string_view key) const;
  // No value: back to the file's. Persisted before it returns.
  [[nodiscard]] Result<void> set(std::string_view key, std::optional<std::string_view> value);
  // Whether the value in force was set at run time.
  [[nodiscard]] Result<bool> is_overridden(std::string_view key) const;

 private:
  // One per key, in the order of the keys.
  using Overrides = std::array<std::optional<std::uint64_t>, 3>;

  NattSettings(const NattConfig& file_values, std::filesystem::path file);
  [[nodiscard]] Result<void> read_overrides();
  [[nodiscard]] Result<void> write_overrides(const Overrides& overrides) const;
  void apply();

  NattConfig file_values_;
  NattConfig values_;
  Overrides overrides_;
  std::filesystem::path file_;
};

}  // namespace natt::config
