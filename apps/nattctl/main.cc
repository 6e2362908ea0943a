// SPDX-License-Identifier: Apache-2.0
// nattctl: makes a site and its devices, and asks running programs. Exit status 0 done,
// 1 failed, 2 wrong command line.
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/config/program_config.h"
#include "apps/nattctl/control_commands.h"
#include "apps/nattctl/site_commands.h"

namespace {

using natt::Result;
using namespace natt::ctl;

// What the command line asks for; `run` is what its subcommand set.
struct CommandLine {
  InitArguments init;
  EnrollArguments enroll;
  ViewArguments view;
  std::filesystem::path dir;
  std::string name;
  std::string key;
  std::optional<std::string> value;
  std::function<Result<void>()> run;
};

Result<void> print(const Result<std::string>& text) {
  if (!text) return tl::unexpected(text.error());
  fmt::print("{}", *text);
  return {};
}

void add_init(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("init", "Make a site: CA, roster and a configuration file per device");
  InitArguments& init = line.init;
  command->add_option("DIR", init.dir, "Folder of the site, made 0700")->required();
  command->add_option("--site", init.site, "Name of the site")->required();
  command->add_option("--broker-address", init.broker_address, "Public address of the broker, ADDRESS[:PORT]")
      ->required();
  command->add_option("--broker-name", init.broker_name, "Name of the broker")->capture_default_str();
  command->add_option("--broker", init.brokers, "A further broker, NAME=ADDRESS[:PORT]");
  command->add_option("--broker-dns-port", init.broker_dns_port, "Second UDP port of the brokers")
      ->capture_default_str();
  command->add_option("--gateway", init.gateways, "A gateway, NAME or NAME=ADDRESS[:PORT]");
  command->add_option("--gateway-address", init.gateway_address, "Public address of the gateway, when it has one");
  command->add_option("--client", init.clients, "A client");
  command->add_option("--protocol", init.protocol, "Tunnel protocol, quic or tls")->capture_default_str();
  command->add_option("--spa-mode", init.spa_mode, "udp-tcp or tcp")->capture_default_str();
  command->add_option("--broker-spa-mode", init.broker_spa_modes, "The mode of one broker, NAME=MODE");
  command->add_option("--allow", init.allow, "What every client may reach, tcp/10.99.0.0/24:1-65535");
  // One value each, so that DIR may stand behind them.
  for (const char* option : {"--broker", "--broker-spa-mode", "--gateway", "--client", "--allow"}) {
    command->get_option(option)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  command->callback([&line] { line.run = [&line] { return print(run_init(line.init)); }; });
}

void add_enroll(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("enroll", "Add a device to a site");
  EnrollArguments& enroll = line.enroll;
  command->add_option("DIR", enroll.dir, "Folder of the site")->required();
  CLI::Option_group* device = command->add_option_group("device");
  device->add_option("--client", enroll.client, "NAME");
  device->add_option("--gateway", enroll.gateway, "NAME or NAME=ADDRESS[:PORT]");
  device->add_option("--broker", enroll.broker, "NAME=ADDRESS[:PORT]");
  device->require_option(1);
  command->add_option("--broker-dns-port", enroll.broker_dns_port, "Second UDP port of the broker")
      ->capture_default_str();
  command->add_option("--spa-mode", enroll.spa_mode, "Mode of the broker, udp-tcp or tcp; default: the site's");
  command->callback([&line] { line.run = [&line] { return print(run_enroll(line.enroll)); }; });
}

void add_site_changes(CLI::App& app, CommandLine& line) {
  CLI::App* renew = app.add_subcommand("renew", "Give a device a new certificate and new SPA keys");
  CLI::App* revoke = app.add_subcommand("revoke", "Remove a device from a site and revoke its certificates");
  CLI::App* sign = app.add_subcommand("sign", "Sign the roster again, for a new next-update time");
  CLI::App* retire = app.add_subcommand("retire", "Take all SPA keys of a device but the newest out of the roster");
  for (CLI::App* command : {renew, revoke, retire, sign})
    command->add_option("DIR", line.dir, "Folder of the site")->required();
  for (CLI::App* command : {renew, revoke, retire}) {
    command->add_option("NAME", line.name, "Name of the device, or ROLE/NAME")->required();
  }
  renew->callback([&line] { line.run = [&line] { return print(run_renew(line.dir, line.name)); }; });
  revoke->callback([&line] { line.run = [&line] { return print(run_revoke(line.dir, line.name)); }; });
  retire->callback([&line] { line.run = [&line] { return print(run_retire(line.dir, line.name)); }; });
  sign->callback([&line] { line.run = [&line] { return print(run_sign(line.dir)); }; });
}

void add_view(CLI::App& app, CommandLine& line, const char* name, const char* description) {
  CLI::App* command = app.add_subcommand(name, description);
  command->fallthrough();
  command->add_flag("--json", line.view.json, "The program's JSON");
  command->add_flag("--watch", line.view.watch, "Again every second");
  command->callback([&line, name] {
    line.view.command = name;
    line.run = [&line] { return run_view(line.view); };
  });
}

void add_config(CLI::App& app, CommandLine& line) {
  CLI::App* config = app.add_subcommand("config", "Read or change a natt/ key of a running program");
  config->fallthrough();
  config->require_subcommand(1);
  CLI::App* get = config->add_subcommand("get", "Print the value in force");
  CLI::App* set = config->add_subcommand("set", "Change it, lastingly; without VALUE back to the configuration file's");
  for (CLI::App* command : {get, set}) {
    command->fallthrough();
    command
        ->add_option("KEY", line.key,
                     "natt/relaySessionsThreshold, natt/relayThroughputBitsPerSecondThreshold or "
                     "natt/stunKeepaliveInterval")
        ->required();
    command->add_flag("--json", line.view.json, "The program's JSON");
  }
  set->add_option("VALUE", line.value, "An integer");
  get->callback([&line] { line.run = [&line] { return run_config_get(line.view.socket, line.key, line.view.json); }; });
  set->callback([&line] {
    line.run = [&line] { return run_config_set(line.view.socket, line.key, line.value, line.view.json); };
  });
}

void add_commands(CLI::App& app, CommandLine& line) {
  app.require_subcommand(1);
  app.add_option("--socket", line.view.socket, "Control socket of the program to ask");
  add_init(app, line);
  add_enroll(app, line);
  add_site_changes(app, line);
  add_view(app, line, "status", "What a program does");
  add_view(app, line, "health", "Whether it is well, and if not, why");
  add_view(app, line, "sites", "The sites it serves and who is connected");
  add_view(app, line, "sessions", "Its tunnels");
  add_view(app, line, "nat-sockets", "Its sockets as the brokers see them");
  add_config(app, line);
}

int exit_status(natt::config::ExitStatus status) { return static_cast<int>(status); }

}  // namespace

int main(int argc, char** argv) {
  // Everything nattctl writes holds keys or says who has some.
  ::umask(077);
  CLI::App app("Makes natt sites and asks running natt programs.", "nattctl");
  CommandLine line;
  add_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    app.exit(error);
    return exit_status(is_help ? natt::config::ExitStatus::kOk : natt::config::ExitStatus::kConfig);
  }
  const Result<void> done = line.run();
  if (done) return exit_status(natt::config::ExitStatus::kOk);
  fmt::print(stderr, "nattctl: {}\n", done.error().message);
  return exit_status(natt::config::ExitStatus::kFailure);
}
