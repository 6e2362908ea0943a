// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tables that all three programs share. Paths are absolute once loaded: a
// relative one in the file counts from the folder of the file, so a file and what
// stands beside it can be copied anywhere together. Value types.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/log.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa_mode.h>
#include <natt/time.h>

#include "apps/config/site_config.h"

namespace natt::config {

// `[spa] mode` and `tcp_visibility`.
using natt::SpaMode;
using natt::TcpVisibility;
[[nodiscard]] std::optional<SpaMode> parse_spa_mode(std::string_view text);
inline constexpr std::string_view kSpaModeForm = "\"udp-tcp\" or \"tcp\"";

// `[control] socket`: default `<state dir>/control.sock`.
struct ControlConfig {
  std::filesystem::path socket;
};

// `[state] dir`: default $STATE_DIRECTORY, which systemd sets, else `state-<stem of the file>`
// beside the file. Made 0700 by prepare_state_dir (state_dir.h).
struct StateConfig {
  std::filesystem::path dir;
};

// `[log] level = "debug" | "info" | "warning" | "error"`.
struct LogConfig {
  LogLevel level = LogLevel::kInfo;
};

// `[metrics] listen`: where Prometheus asks (section 8 of docs/OPERATIONS.md). Absent: nowhere.
struct MetricsConfig {
  std::optional<SocketAddress> listen;
  friend bool operator==(const MetricsConfig&, const MetricsConfig&) = default;
};

struct SpaConfig {
  // A broker's own; elsewhere what to believe of brokers that `[[site.broker]] spa_mode` does not name.
  SpaMode mode = SpaMode::kUdpTcp;
  // Absent: the best this host can do. Brokers only.
  std::optional<TcpVisibility> tcp_visibility;
  // Strangers' packets are dropped in the kernel where the host can. Brokers and gateways only.
  bool kernel_gate = true;
  // `[spa] dns_suffix`: what knocks over DNS end in. Absent: each site's own, which follows from its PSK.
  std::optional<spa::DnsSuffix> dns_suffix;
};

// Below 1 s keepalives are a flood; above 10 minutes no NAT keeps a binding (RFC 4787 REQ-5 asks for 2).
inline constexpr std::int64_t kMinStunKeepalive = 1;
inline constexpr std::int64_t kMaxStunKeepalive = 600;

// `[natt]`: the three keys an operator may also change at run time (`nattctl config
// set natt/...`; see natt_settings.h, which holds the values in force).
struct NattConfig {
  // A broker with more relayed sessions than this reports a warning; it refuses none
  // for it. 1000 is where the product that operators know stops altogether.
  std::uint64_t relay_sessions_threshold = 1000;
  // Mean over 10 minutes above which a broker reports a warning: one gigabit port, full.
  std::uint64_t relay_throughput_bits_per_second_threshold = 1'000'000'000;
  // Seconds in the file. RFC 8445 section 11: 15 s keeps bindings alive in common NATs.
  std::chrono::seconds stun_keepalive_interval{15};
};

// What the file of every program has.
struct ProgramConfig {
  std::filesystem::path file;  // absolute
  SpaConfig spa;
  StateConfig state;
  ControlConfig control;
  LogConfig log;
  NattConfig natt;
  MetricsConfig metrics;
};

// Exit statuses of all programs.
enum class ExitStatus : int {
  kOk = 0,
  kFailure = 1,  // could not start or go on; the last line on stderr says why
  kConfig = 2,   // configuration or command line is wrong; the line names file, line and key
};

}  // namespace natt::config
