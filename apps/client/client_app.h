// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client program: configuration in; a SiteClient per site with port forwards, SOCKS5 and
// a TUN device on top; status out.

#include <map>
#include <memory>
#include <vector>

#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/timer.h>

#include "apps/client/local_stream.h"
#include "apps/client/port_forward.h"
#include "apps/client/socks_server.h"
#include "apps/config/client_config.h"
#include "apps/config/log.h"
#include "apps/config/natt_settings.h"
#include "apps/control/command_table.h"
#include "apps/control/control_server.h"
#include "apps/control/status.h"
#include "apps/metrics/metrics_endpoint.h"
#include "apps/program/event_loop.h"
#include "apps/program/roster_files.h"

namespace natt::client {

class ClientApp final : private program::EventLoop::Listener, private natt::uv::Timer::Listener {
 public:
  ClientApp(program::EventLoop& loop, config::ClientConfig config, config::Log& log);
  ~ClientApp() override;
  ClientApp(const ClientApp&) = delete;
  ClientApp& operator=(const ClientApp&) = delete;

  [[nodiscard]] Result<void> open();
  void run();

 private:
  class Site;

  void on_terminate(Instant now) override;
  void on_reload(Instant now) override;
  void on_timer(Instant) override { loop_.stop(); }

  [[nodiscard]] Result<void> open_sites();
  [[nodiscard]] Result<void> open_forwards();
  [[nodiscard]] Result<void> open_socks();
  [[nodiscard]] Result<void> open_tun();
  [[nodiscard]] Site* find_site(const std::string& name);
  void add_commands();
  void apply_settings();
  [[nodiscard]] control::Health health() const;
  [[nodiscard]] control::Status status() const;
  [[nodiscard]] std::vector<control::Session> connections(const std::string& site) const;
  [[nodiscard]] std::vector<control::Site> sites() const;
  [[nodiscard]] std::vector<control::NatSocket> sockets() const;

  program::EventLoop& loop_;
  config::ClientConfig config_;
  config::Log& log_;
  SystemRandom random_;
  std::unique_ptr<config::NattSettings> settings_;
  WallTime since_{};
  std::vector<std::unique_ptr<Site>> sites_;
  std::vector<std::unique_ptr<PortForward>> forwards_;
  std::unique_ptr<SocksServer> socks_;
  control::CommandTable commands_;
  std::unique_ptr<control::ControlServer> control_;
  metrics::MetricsEndpoint metrics_;
  natt::uv::Timer timer_;
};

}  // namespace natt::client
