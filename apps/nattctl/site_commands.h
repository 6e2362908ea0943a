// SPDX-License-Identifier: Apache-2.0
#pragma once

// init, enroll, renew, revoke and sign: what the command line gave, checked and done.
// Each returns what it did, as text for the operator; errors are one sentence.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <natt/error.h>

namespace natt::ctl {

struct InitArguments {
  std::filesystem::path dir;
  std::string site;
  std::string broker_address;
  std::string broker_name = "b1";
  std::vector<std::string> brokers;  // further ones, NAME=ADDRESS
  std::uint16_t broker_dns_port = 53;
  std::vector<std::string> gateways;  // NAME or NAME=ADDRESS
  std::string gateway_address;        // of the only gateway
  std::vector<std::string> clients;
  std::string protocol = "quic";
  std::string spa_mode = "udp-tcp";
  std::vector<std::string> broker_spa_modes;  // of single brokers, NAME=MODE
  std::vector<std::string> allow;
};

// Exactly one of the three names.
struct EnrollArguments {
  std::filesystem::path dir;
  std::string client;
  std::string gateway;  // NAME or NAME=ADDRESS
  std::string broker;   // NAME=ADDRESS
  std::uint16_t broker_dns_port = 53;
  std::string spa_mode;  // of the broker; empty: the site's
};

[[nodiscard]] Result<std::string> run_init(const InitArguments& arguments);
[[nodiscard]] Result<std::string> run_enroll(const EnrollArguments& arguments);
[[nodiscard]] Result<std::string> run_renew(const std::filesystem::path& dir, const std::string& name);
[[nodiscard]] Result<std::string> run_retire(const std::filesystem::path& dir, const std::string& name);
[[nodiscard]] Result<std::string> run_revoke(const std::filesystem::path& dir, const std::string& name);
// Signs the roster again with a new next-update time.
[[nodiscard]] Result<std::string> run_sign(const std::filesystem::path& dir);

}  // namespace natt::ctl
