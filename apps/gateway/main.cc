// SPDX-License-Identifier: Apache-2.0
// The gateway. docs/OPERATIONS.md says how to run it.
#include "apps/gateway/gateway_app.h"
#include "apps/program/command_line.h"
#include "apps/program/descriptor_limit.h"
#include "apps/program/device_health.h"

int main(int argc, char** argv) {
  using namespace natt;
  int status = 0;
  const auto line = program::parse_command_line(argc, argv, "natt-gateway", "natt gateway", status);
  if (!line) return status;
  auto config = config::load_gateway_config(line->config);
  if (!config) return program::complain("natt-gateway", config.error(), config::ExitStatus::kConfig);
  if (line->check) {
    program::warn_about("natt-gateway", {config->site}, config->state.dir);
    return static_cast<int>(config::ExitStatus::kOk);
  }
  program::raise_descriptor_limit();
  config::Log log(config->log.level);
  program::EventLoop loop;
  int result = static_cast<int>(config::ExitStatus::kOk);
  {
    gateway::GatewayApp app(loop, std::move(*config), log);
    if (auto opened = app.open(); !opened) {
      result = program::complain("natt-gateway", opened.error(), config::ExitStatus::kFailure);
    } else {
      config::announce_ready();
      app.run();
    }
  }
  loop.settle();
  return result;
}
