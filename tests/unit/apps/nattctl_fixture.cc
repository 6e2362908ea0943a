// SPDX-License-Identifier: Apache-2.0
#include "unit/apps/nattctl_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include "apps/config/broker_config.h"
#include "apps/config/state_dir.h"

namespace natt::test {

ctl::InitArguments init_arguments(const std::filesystem::path& dir) {
  ctl::InitArguments result;
  result.dir = dir;
  result.site = "hq";
  result.broker_address = "198.51.100.10";
  result.gateways = {"gw1"};
  result.gateway_address = "203.0.113.7";
  result.clients = {"alice", "bob"};
  result.allow = {"tcp/10.99.0.0/24:1-65535"};
  return result;
}

config::ClientConfig client_config(const std::filesystem::path& file) {
  auto config = config::load_client_config(file);
  REQUIRE(config);
  return std::move(*config);
}

Roster roster_in(const std::filesystem::path& dir) {
  const auto config = config::load_broker_config(dir / "broker.toml");
  REQUIRE(config);
  const auto ca = SiteCa::from_pem(config->sites[0].ca_pem);
  const auto text = config::read_file(dir / "roster", 1 << 20, config::Exposure::kSecret);
  REQUIRE(text);
  const auto documents = SignedRoster::parse(as_bytes(*text));
  REQUIRE(documents);
  auto roster = parse_roster(documents->full, RosterView::kFull, *ca);
  REQUIRE(roster);
  return std::move(*roster);
}

}  // namespace natt::test
