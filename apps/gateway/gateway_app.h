// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gateway program: configuration in, natt::tunnel::uv::Gateway on the loop, status out.

#include <memory>

#include <natt/tunnel/uv/gateway.h>
#include <natt/uv/timer.h>

#include "apps/config/gateway_config.h"
#include "apps/config/log.h"
#include "apps/config/natt_settings.h"
#include "apps/control/command_table.h"
#include "apps/control/control_server.h"
#include "apps/control/file_watch.h"
#include "apps/control/status.h"
#include "apps/gateway/entitlement_policy.h"
#include "apps/metrics/metrics_endpoint.h"
#include "apps/program/clock_watch.h"
#include "apps/program/config_reload.h"
#include "apps/program/event_loop.h"
#include "apps/program/gate_state.h"
#include "apps/program/retired_key_files.h"
#include "apps/program/roster_files.h"

namespace natt::gateway {

class GatewayApp final : private program::EventLoop::Listener,
                         private natt::uv::Timer::Listener,
                         private tunnel::uv::Gateway::Listener {
 public:
  GatewayApp(program::EventLoop& loop, config::GatewayConfig config, config::Log& log);
  ~GatewayApp() override;
  GatewayApp(const GatewayApp&) = delete;
  GatewayApp& operator=(const GatewayApp&) = delete;

  [[nodiscard]] Result<void> open();
  void run();

 private:
  // How long SIGTERM waits for streams to end.
  static constexpr std::chrono::seconds kDrain{5};

  void on_terminate(Instant now) override;
  void on_reload(Instant now) override;
  void on_timer(Instant now) override;
  void on_roster(const Roster& roster) override { update_policy(roster); }
  bool persist_roster(const SignedRoster& documents) override;
  void on_keys_retired(const std::string& lines) override;

  [[nodiscard]] Result<tunnel::uv::GatewayOptions> gateway_options();
  // What is in the configuration file by now.
  struct Reload {
    Result<config::GatewayConfig> config = config::GatewayConfig{};
    Result<Credentials> credentials = tl::unexpected(Error{});
  };
  [[nodiscard]] static Reload read_again(const std::filesystem::path& file);
  void apply_reload(Instant now, const Reload& reload, program::ReloadScope scope);
  void reload_settings(Instant now, const config::GatewayConfig& config);
  void renew(Instant now, const config::SiteConfig& after, const Credentials& credentials);
  void take_roster(Instant now, const SignedRoster& documents);
  void add_keys(control::Health& health) const;
  void update_policy(const Roster& roster);
  void add_commands();
  [[nodiscard]] control::Health health() const;
  void add_counters(control::Health& health) const;
  [[nodiscard]] control::Status status() const;
  [[nodiscard]] std::vector<control::Session> sessions() const;

  program::EventLoop& loop_;
  config::GatewayConfig config_;
  config::Log& log_;
  SystemRandom random_;
  EntitlementPolicy policy_;
  std::unique_ptr<config::NattSettings> settings_;
  WallTime since_{};
  mutable program::ClockWatch clock_watch_{spa::SystemHostClock().read()};  // remembers what it noticed
  program::RetiredKeyFiles retired_keys_;
  program::GateState gate_;
  std::unique_ptr<tunnel::uv::Gateway> gateway_;
  std::unique_ptr<program::RosterWatch> watch_;
  std::string roster_not_persisted_;  // the reason
  std::unique_ptr<control::FileWatch> config_watch_;
  program::ConfigReload<Reload> reload_;
  control::CommandTable commands_;
  std::unique_ptr<control::ControlServer> control_;
  metrics::MetricsEndpoint metrics_;
  natt::uv::Timer timer_;
  std::optional<Instant> stop_at_;
};

}  // namespace natt::gateway
