// SPDX-License-Identifier: Apache-2.0
// What an operator is told of rosters that were not taken or not kept.
#include "apps/program/roster_health.h"

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using control::HealthStatus;

namespace {

control::Health health_of(const std::optional<RosterRejection>& rejection, const std::string& not_persisted = "") {
  control::Health health;
  program::add_roster_health(health, "hq", rejection, not_persisted);
  return health;
}

}  // namespace

TEST_CASE("roster health: nothing is said of a roster that was taken and kept", "[apps][health]") {
  const auto health = health_of(std::nullopt);
  CHECK(health.status == HealthStatus::kHealthy);
  CHECK(health.details.empty());
}

TEST_CASE("roster health: a refused roster is a warning with its reason", "[apps][health]") {
  const auto health = health_of(RosterRejection{.reason = "the signature is not the CA's"});
  CHECK(health.status == HealthStatus::kWarning);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0] ==
        "a roster of site hq was refused, the one before is in force: the signature is not the CA's");
}

TEST_CASE("roster health: an older roster is told and no warning", "[apps][health]") {
  const auto health = health_of(RosterRejection{.reason = "roster 3 is older", .is_older = true});
  CHECK(health.status == HealthStatus::kHealthy);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0] == "a roster of site hq was ignored: roster 3 is older");
}

TEST_CASE("roster health: a roster that is in force and not on the disk is a warning", "[apps][health]") {
  const auto health = health_of(std::nullopt, "state/roster-hq: No space left on device");
  CHECK(health.status == HealthStatus::kWarning);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0].find("not on the disk") != std::string::npos);
  CHECK(health.details[0].find("written again every 10 s: state/roster-hq: No space left on device") !=
        std::string::npos);
}
