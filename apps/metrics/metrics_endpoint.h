// SPDX-License-Identifier: Apache-2.0
#pragma once

// `[metrics] listen` of a program: opened at start, moved on SIGHUP, and what log and health
// say of a port that others can see. Resource type on the loop.

#include <array>
#include <functional>
#include <memory>

#include <natt/error.h>
#include <natt/log.h>

#include "apps/config/program_config.h"
#include "apps/control/status.h"
#include "apps/metrics/metrics_server.h"

namespace natt::metrics {

class MetricsEndpoint {
 public:
  // `status` is asked at each scrape, and says what health says; it may leave out connections and brokers.
  using Source = std::function<control::Status()>;
  MetricsEndpoint(uv_loop_s& loop, Source status, LogSink log);
  MetricsEndpoint(const MetricsEndpoint&) = delete;
  MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

  // Errors: the address cannot be listened on; one sentence that names the key.
  [[nodiscard]] Result<void> open(const config::MetricsConfig& config);
  // The same while the program runs: on an error, which is logged, the old address stays.
  void reload(const config::MetricsConfig& config);

  void add_health(control::Health& health) const;

 private:
  [[nodiscard]] Result<void> listen(const SocketAddress& address);
  [[nodiscard]] std::string page() const;

  uv_loop_s& loop_;
  Source status_;
  LogSink log_;
  config::MetricsConfig config_;
  // Counters go on when the address changes.
  std::array<std::uint64_t, kRequestResultCount> former_{};
  std::unique_ptr<MetricsServer> server_;
};

}  // namespace natt::metrics
