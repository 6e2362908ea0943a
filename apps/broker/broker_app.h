// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker program: configuration in, natt::uv::Broker on the loop, status out.

#include <map>
#include <memory>
#include <vector>

#include <natt/uv/broker.h>
#include <natt/uv/timer.h>

#include "apps/config/broker_config.h"
#include "apps/config/log.h"
#include "apps/config/natt_settings.h"
#include "apps/control/command_table.h"
#include "apps/control/control_server.h"
#include "apps/control/status.h"
#include "apps/control/file_watch.h"
#include "apps/metrics/metrics_endpoint.h"
#include "apps/program/clock_watch.h"
#include "apps/program/config_reload.h"
#include "apps/program/event_loop.h"
#include "apps/program/gate_state.h"
#include "apps/program/retired_key_files.h"
#include "apps/program/roster_files.h"
#include "apps/program/settings_commands.h"

namespace natt::broker {

class BrokerApp final : private program::EventLoop::Listener, private natt::uv::Timer::Listener {
 public:
  BrokerApp(program::EventLoop& loop, config::BrokerConfig config, config::Log& log);
  ~BrokerApp() override;
  BrokerApp(const BrokerApp&) = delete;
  BrokerApp& operator=(const BrokerApp&) = delete;

  // Opens ports and sockets. Errors are one sentence.
  [[nodiscard]] Result<void> open();
  // Serves until SIGTERM.
  void run();

 private:
  // How long SIGTERM waits for peers to go elsewhere.
  static constexpr std::chrono::seconds kDrain{5};

  void on_terminate(Instant now) override;
  void on_reload(Instant now) override;
  void on_timer(Instant now) override;

  [[nodiscard]] Result<std::vector<natt::uv::BrokerSiteOptions>> site_options();
  void watch_files();
  // What is in the configuration file by now.
  struct Reload {
    Result<config::BrokerConfig> config = config::BrokerConfig{};
    std::vector<Result<Credentials>> credentials;  // one per site
  };
  // A file with the roster of a large site takes a second to read and verify: not on the loop.
  [[nodiscard]] static Reload read_again(const std::filesystem::path& file);
  void apply_reload(Instant now, const Reload& reload, program::ReloadScope scope);
  void reload_settings(Instant now, const config::BrokerConfig& config);
  void renew_site(Instant now, const config::SiteConfig& before, const config::SiteConfig& after,
                  const Credentials& credentials);
  void add_keys(control::Health& health, const natt::uv::BrokerSiteState& site) const;
  void add_commands();
  [[nodiscard]] control::Health health() const;
  void add_door(control::Health& health) const;
  void add_site(control::Health& health, const natt::uv::BrokerSiteState& site) const;
  void add_counters(control::Health& health) const;
  [[nodiscard]] control::Status status() const;
  [[nodiscard]] std::vector<control::Session> sessions() const;
  [[nodiscard]] std::vector<control::Site> sites() const;
  [[nodiscard]] control::SessionCounts counts(const std::string& site) const;
  [[nodiscard]] control::Relayed relayed() const;
  void apply_settings();

  program::EventLoop& loop_;
  config::BrokerConfig config_;
  config::Log& log_;
  SystemRandom random_;
  std::unique_ptr<config::NattSettings> settings_;
  WallTime since_{};
  mutable program::ClockWatch clock_watch_{spa::SystemHostClock().read()};  // remembers what it noticed
  program::RetiredKeyFiles retired_keys_;
  program::GateState gate_;
  std::unique_ptr<natt::uv::Broker> broker_;
  std::vector<std::unique_ptr<control::FileWatch>> watches_;
  program::ConfigReload<Reload> reload_;
  control::CommandTable commands_;
  std::unique_ptr<control::ControlServer> control_;
  metrics::MetricsEndpoint metrics_;
  natt::uv::Timer timer_;
  std::optional<Instant> stop_at_;
};

}  // namespace natt::broker
