// SPDX-License-Identifier: Apache-2.0
// The client. docs/OPERATIONS.md says how to run it.
#include "apps/client/client_app.h"
#include "apps/program/command_line.h"
#include "apps/program/descriptor_limit.h"
#include "apps/program/device_health.h"

int main(int argc, char** argv) {
  using namespace natt;
  int status = 0;
  const auto line = program::parse_command_line(argc, argv, "natt-client", "natt client", status);
  if (!line) return status;
  auto config = config::load_client_config(line->config);
  if (!config) return program::complain("natt-client", config.error(), config::ExitStatus::kConfig);
  if (line->check) {
    program::warn_about("natt-client", config->sites, config->state.dir);
    return static_cast<int>(config::ExitStatus::kOk);
  }
  program::raise_descriptor_limit();
  config::Log log(config->log.level);
  program::EventLoop loop;
  int result = static_cast<int>(config::ExitStatus::kOk);
  {
    client::ClientApp app(loop, std::move(*config), log);
    if (auto opened = app.open(); !opened) {
      result = program::complain("natt-client", opened.error(), config::ExitStatus::kFailure);
    } else {
      config::announce_ready();
      app.run();
    }
  }
  loop.settle();
  return result;
}
