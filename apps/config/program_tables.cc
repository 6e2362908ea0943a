// SPDX-License-Identifier: Apache-2.0
#include "apps/config/program_tables.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>

#include "apps/config/address_block.h"

namespace natt::config {
namespace {

std::optional<LogLevel> parse_level(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return std::nullopt;
}

std::optional<TcpVisibility> parse_visibility(std::string_view text) {
  if (text == "syn") return TcpVisibility::kSyn;
  if (text == "ip") return TcpVisibility::kIp;
  if (text == "open") return TcpVisibility::kOpen;
  return std::nullopt;
}

// systemd's StateDirectory= (systemd.exec(5)): the folder the service may write to; several are separated by colons.
std::filesystem::path default_state_dir(const std::filesystem::path& file) {
  const char* given = std::getenv("STATE_DIRECTORY");
  const std::string_view dirs = given != nullptr ? given : "";
  if (dirs.starts_with('/')) return dirs.substr(0, dirs.find(':'));
  return resolve_path("state-" + file.stem().string(), file);
}

StateConfig read_state(TableReader& root, const std::filesystem::path& file) {
  StateConfig state{default_state_dir(file)};
  if (auto table = root.table("state")) {
    if (const auto dir = table->text("dir")) {
      if (dir->empty()) table->complain("dir", "must not be empty");
      state.dir = resolve_path(*dir, file);
    }
    table->finish();
  }
  return state;
}

ControlConfig read_control(TableReader& root, const std::filesystem::path& file, const StateConfig& state) {
  ControlConfig control{state.dir / "control.sock"};
  if (auto table = root.table("control")) {
    if (const auto socket = table->text("socket")) {
      if (socket->empty()) table->complain("socket", "must not be empty");
      control.socket = resolve_path(*socket, file);
    }
    table->finish();
  }
  return control;
}

LogConfig read_log(TableReader& root) {
  LogConfig log;
  if (auto table = root.table("log")) {
    log.level =
        table->parsed("level", parse_level, "\"debug\", \"info\", \"warning\" or \"error\"").value_or(log.level);
    table->finish();
  }
  return log;
}

NattConfig read_natt(TableReader& root) {
  NattConfig natt;
  auto table = root.table("natt");
  if (!table) return natt;
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (const auto value = table->integer("relaySessionsThreshold", 0, kMost)) {
    natt.relay_sessions_threshold = static_cast<std::uint64_t>(*value);
  }
  if (const auto value = table->integer("relayThroughputBitsPerSecondThreshold", 0, kMost)) {
    natt.relay_throughput_bits_per_second_threshold = static_cast<std::uint64_t>(*value);
  }
  if (const auto value = table->integer("stunKeepaliveInterval", kMinStunKeepalive, kMaxStunKeepalive)) {
    natt.stun_keepalive_interval = std::chrono::seconds(*value);
  }
  table->finish();
  return natt;
}

MetricsConfig read_metrics(TableReader& root) {
  MetricsConfig metrics;
  if (auto table = root.table("metrics")) {
    metrics.listen = table->parsed("listen", parse_listen, "ADDRESS:PORT such as \"127.0.0.1:9464\"");
    table->finish();
  }
  return metrics;
}

SpaConfig read_spa(TableReader& root, Hides hides) {
  SpaConfig config;
  auto table = root.table("spa");
  if (!table) return config;
  config.mode = table->parsed("mode", parse_spa_mode, kSpaModeForm).value_or(config.mode);
  config.dns_suffix =
      table->parsed("dns_suffix", spa::DnsSuffix::parse, "a host name of at most 60 characters without a final dot");
  if (hides == Hides::kUdpAndTcp) {
    config.tcp_visibility = table->parsed("tcp_visibility", parse_visibility, "\"syn\", \"ip\" or \"open\"");
  }
  if (hides != Hides::kNothing) config.kernel_gate = table->boolean("kernel_gate").value_or(config.kernel_gate);
  table->finish();
  return config;
}

}  // namespace

std::optional<SpaMode> parse_spa_mode(std::string_view text) {
  if (text == "udp-tcp") return SpaMode::kUdpTcp;
  if (text == "tcp") return SpaMode::kTcp;
  return std::nullopt;
}

ProgramConfig read_program_tables(TableReader& root, const std::filesystem::path& file, Hides hides) {
  ProgramConfig config{.file = file, .spa = read_spa(root, hides), .state = read_state(root, file)};
  config.control = read_control(root, file, config.state);
  config.log = read_log(root);
  config.natt = read_natt(root);
  config.metrics = read_metrics(root);
  return config;
}

std::optional<SocketAddress> parse_listen(std::string_view text) {
  const auto address = SocketAddress::parse(text);
  return address && address->port != 0 ? address : std::nullopt;
}

std::vector<IpPrefix> read_probe_prefixes(TableReader& root) {
  auto table = root.table("probe");
  if (!table) return {};
  auto prefixes = table->parsed_list("prefixes", kMaxPrefixes, parse_block, "address blocks such as \"10.0.0.0/8\"");
  table->finish();
  return prefixes;
}

std::filesystem::path resolve_path(std::string_view text, const std::filesystem::path& file) {
  return (file.parent_path() / std::filesystem::path(text)).lexically_normal();
}

bool is_interface_name(std::string_view name) {
  const auto is_name_octet = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), is_name_octet);
}

}  // namespace natt::config
