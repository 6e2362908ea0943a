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

MetricsEndpoint::MetricsEndpoint(uv_loop_s& loop, Source status, LogSink log, Duration retry)
    : loop_(loop), status_(std::move(status)), log_(log), retry_(retry), timer_(loop, *this) {}
MetricsEndpoint::~MetricsEndpoint() = default;

void MetricsEndpoint::serve(const config::MetricsConfig& config) {
  config_ = config;
  trouble_.clear();
  open_wanted();
}

void MetricsEndpoint::on_timer(Instant) { open_wanted(); }

void MetricsEndpoint::open_wanted() {
  timer_.arm(std::nullopt);
  if (is_as_wanted()) return;
  if (!config_.listen) return close();
  auto listening = listen(*config_.listen);
  if (!listening && address_ && address_->port == config_.listen->port) listening = close_and_listen(*config_.listen);
  if (listening) return trouble_.clear();
  complain(address_ ? "natt.metrics.not_moved" : "natt.metrics.not_served", listening.error());
  timer_.arm(natt::uv::now() + retry_);
}

Result<void> MetricsEndpoint::bind(const SocketAddress& address) {
  auto server = MetricsServer::open(loop_, address, [this] { return page(); });
  if (!server) return tl::unexpected(Error{server.error().code, "[metrics] listen: " + server.error().message});
  close();
  server_ = std::move(*server);
  address_ = address;
  return {};
}

Result<void> MetricsEndpoint::listen(const SocketAddress& address) {
  if (auto bound = bind(address); !bound) return bound;
  log_(LogLevel::kInfo, "natt.metrics.listening address=" + address.to_string());
  if (!address.ip.is_loopback()) {
    log_(LogLevel::kWarning, "natt.metrics.visible reason=\"" + address.to_string() + kSeen + "\"");
  }
  return {};
}

Result<void> MetricsEndpoint::close_and_listen(const SocketAddress& address) {
  const SocketAddress old = *address_;
  close();
  auto listening = listen(address);
  if (listening) return listening;
  if (const auto back = bind(old); !back) complain("natt.metrics.lost", back.error());
  return listening;
}

void MetricsEndpoint::close() {
  if (!server_) return;
  for (std::size_t i = 0; i < kRequestResultCount; ++i) former_[i] += server_->stats().requests[i];
  server_.reset();
  address_.reset();
}

void MetricsEndpoint::complain(std::string_view name, const Error& error) {
  if (error.message == trouble_) return;
  trouble_ = error.message;
  log_(LogLevel::kError, std::string(name) + " reason=\"" + error.message + "\"");
}

void MetricsEndpoint::add_health(control::Health& health) const {
  if (config_.listen && !health.check("metrics_served", is_as_wanted())) {
    health.add(control::HealthStatus::kWarning,
               "[metrics] listen: " + config_.listen->to_string() +
                   (address_ ? " cannot be had, " + address_->to_string() + " is served on"
                             : std::string(" cannot be had, nothing is served")) +
                   ": see which program has the port (ss -ltnp); it is tried again by itself");
  }
  if (!server_) return;
  if (!health.check("metrics_port_hidden", address_->ip.is_loopback())) {
    health.add(control::HealthStatus::kHealthy,
               address_->to_string() + kSeen + "; [metrics] listen = \"127.0.0.1:PORT\" hides it");
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
