// SPDX-License-Identifier: Apache-2.0
#pragma once

// `[metrics] listen` of a program: opened at start, moved on SIGHUP, tried again while it
// cannot be had, and what log and health say of it. The program never depends on it: anybody
// on the host can take a port above 1023. Resource type on the loop.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <natt/error.h>
#include <natt/log.h>
#include <natt/uv/timer.h>

#include "apps/config/program_config.h"
#include "apps/control/status.h"
#include "apps/metrics/metrics_server.h"

namespace natt::metrics {

class MetricsEndpoint final : private natt::uv::Timer::Listener {
 public:
  // `status` is asked at each scrape, and says what health says; it may leave out connections and brokers.
  using Source = std::function<control::Status()>;
  // How long an address that could not be had is left alone.
  static constexpr Duration kRetry = std::chrono::seconds(10);
  // `retry` is for tests.
  MetricsEndpoint(uv_loop_s& loop, Source status, LogSink log, Duration retry = kRetry);
  ~MetricsEndpoint() override;
  MetricsEndpoint(const MetricsEndpoint&) = delete;
  MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

  // From now on `config` holds. When its address cannot be had, which log and health say, the one before is served on and
  // the new one tried every kRetry.
  void serve(const config::MetricsConfig& config);

  void add_health(control::Health& health) const;
  // Where it is served. Absent: nowhere.
  [[nodiscard]] const std::optional<SocketAddress>& address() const { return address_; }

 private:
  void on_timer(Instant now) override;
  [[nodiscard]] bool is_as_wanted() const { return address_ == config_.listen; }
  void open_wanted();
  [[nodiscard]] Result<void> bind(const SocketAddress& address);
  [[nodiscard]] Result<void> listen(const SocketAddress& address);
  // For two addresses that cannot be listened on at once.
  [[nodiscard]] Result<void> close_and_listen(const SocketAddress& address);
  void close();
  void complain(std::string_view name, const Error& error);
  [[nodiscard]] std::string page() const;

  uv_loop_s& loop_;
  Source status_;
  LogSink log_;
  Duration retry_;
  config::MetricsConfig config_;
  std::optional<SocketAddress> address_;
  std::string trouble_;  // the reason that was logged last
  // Counters go on when the address changes.
  std::array<std::uint64_t, kRequestResultCount> former_{};
  std::unique_ptr<MetricsServer> server_;
  natt::uv::Timer timer_;
};

}  // namespace natt::metrics
