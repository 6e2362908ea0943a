// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/metrics_endpoint.h"

#include <utility>

#include "apps/metrics/health_metrics.h"
#include "apps/metrics/metric_catalogue.h"

namespace natt::metrics {
namespace {

constexpr const char* kSeen =
    " is not a loopback address: scanners see this port, and that a program of natt runs here";

}  // namespace

MetricsEndpoint::MetricsEndpoint(uv_loop_s& loop, Source status, LogSink log)
    : loop_(loop), status_(std::move(status)), log_(log) {}

Result<void> MetricsEndpoint::open(const config::MetricsConfig& config) {
  if (config.listen) {
    if (auto listening = listen(*config.listen); !listening) return listening;
  }
  config_ = config;
  return {};
}

Result<void> MetricsEndpoint::listen(const SocketAddress& address) {
  auto server = MetricsServer::open(loop_, address, [this] { return page(); });
  if (!server) return tl::unexpected(Error{server.error().code, "[metrics] listen: " + server.error().message});
  server_ = std::move(*server);
  log_(LogLevel::kInfo, "natt.metrics.listening address=" + address.to_string());
  if (!address.ip.is_loopback()) {
    log_(LogLevel::kWarning, "natt.metrics.visible reason=\"" + address.to_string() + kSeen + "\"");
  }
  return {};
}

void MetricsEndpoint::reload(const config::MetricsConfig& config) {
  if (config == config_) return;
  // The port may be the same at another address, so the old one goes first.
  if (server_) {
    for (std::size_t i = 0; i < kRequestResultCount; ++i) former_[i] += server_->stats().requests[i];
    server_.reset();
  }
  const config::MetricsConfig old = std::exchange(config_, {});
  auto opened = open(config);
  if (opened) return;
  log_(LogLevel::kError, "natt.metrics.not_moved reason=\"" + opened.error().message + "\"");
  static_cast<void>(open(old));
}

void MetricsEndpoint::add_health(control::Health& health) const {
  if (!server_) return;
  const bool hidden = config_.listen->ip.is_loopback();
  if (!health.check("metrics_port_hidden", hidden)) {
    health.add(control::HealthStatus::kHealthy,
               config_.listen->to_string() + kSeen + "; [metrics] listen = \"127.0.0.1:PORT\" hides it");
  }
  control::CounterTable requests{.name = "metricsRequests", .counts = {}};
  for (std::size_t i = 0; i < kRequestResultCount; ++i) {
    requests.counts.emplace_back(to_string(static_cast<RequestResult>(i)), former_[i] + server_->stats().requests[i]);
  }
  health.add(std::move(requests));
}

std::string MetricsEndpoint::page() const {
  MetricPage page = page_of(status_());
  const Duration last = server_->stats().last_page;
  page.add(kMetricsLastPage, {}, std::chrono::duration<double>(last).count());
  return page.text();
}

}  // namespace natt::metrics
