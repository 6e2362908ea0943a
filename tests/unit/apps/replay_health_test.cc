// SPDX-License-Identifier: Apache-2.0
// What an operator is told of a replay journal.
#include "apps/program/site_status.h"

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using control::HealthStatus;
using spa::ReplayState;
using std::chrono::seconds;

namespace {

const Instant kNow{std::chrono::hours(1)};

control::Health health_of(const std::optional<spa::ReplayStatus>& replay) {
  control::Health health;
  program::add_replay_health(health, "hq", replay, kNow);
  return health;
}

}  // namespace

TEST_CASE("replay health: nothing is said of a journal that is complete, new or absent", "[apps][health]") {
  CHECK(health_of(std::nullopt).status == HealthStatus::kHealthy);
  CHECK(health_of(spa::ReplayStatus{.state = ReplayState::kComplete}).status == HealthStatus::kHealthy);
  CHECK(health_of(spa::ReplayStatus{.state = ReplayState::kFirst, .accept_from = kNow}).details.empty());
  CHECK(health_of(spa::ReplayStatus{.state = ReplayState::kStale, .accept_from = kNow - seconds(1)}).details.empty());
}

TEST_CASE("replay health: knocks that are refused are a warning with reason and time", "[apps][health]") {
  const auto health = health_of(spa::ReplayStatus{
      .state = ReplayState::kMissing, .reason = "there is no replay journal", .accept_from = kNow + seconds(45)});
  CHECK(health.status == HealthStatus::kWarning);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0] ==
        "knocks at site hq are refused for another 45 s, because older ones may be copies: there is no replay journal");
}

TEST_CASE("replay health: a quarantine that a former run began is named as such", "[apps][health]") {
  const auto health = health_of(spa::ReplayStatus{.state = ReplayState::kComplete, .accept_from = kNow + seconds(1)});
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0].find("the former run began so") != std::string::npos);
}

TEST_CASE("replay health: no journal and a full one are warnings", "[apps][health]") {
  const auto none = health_of(spa::ReplayStatus{.state = ReplayState::kUnavailable, .reason = "no room for it"});
  CHECK(none.status == HealthStatus::kWarning);
  REQUIRE(none.details.size() == 1);
  CHECK(none.details[0].find("no room for it") != std::string::npos);
  const auto full =
      health_of(spa::ReplayStatus{.state = ReplayState::kComplete, .refused = 7, .records_per_slot = 49152});
  REQUIRE(full.details.size() == 1);
  CHECK(full.details[0].find("7 knocks at site hq were refused") == 0);
}

TEST_CASE("replay health: the journal stands in the state folder by its site", "[apps][health]") {
  CHECK(program::replay_journal("/var/lib/natt", "hq") == "/var/lib/natt/replay-hq.journal");
}

TEST_CASE("replay health: a journal that could not grow is a warning with the reason, until it could", "[apps][health]") {
  const auto health = health_of(spa::ReplayStatus{
      .state = ReplayState::kComplete, .records_per_slot = 49152, .no_room = "replay-hq.journal.new: no room for it"});
  CHECK(health.status == HealthStatus::kWarning);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0] ==
        "the replay journal of site hq could not grow, so more than 49152 knocks in 64 s are refused until it can: "
        "replay-hq.journal.new: no room for it");
}

TEST_CASE("replay health: a journal outside of locked memory is told and no warning", "[apps][health]") {
  const auto health = health_of(spa::ReplayStatus{.state = ReplayState::kComplete, .in_locked_memory = false});
  CHECK(health.status == HealthStatus::kHealthy);
  REQUIRE(health.details.size() == 1);
  CHECK(health.details[0].find("is not in locked memory") != std::string::npos);
  CHECK(health_of(spa::ReplayStatus{.state = ReplayState::kUnavailable, .in_locked_memory = false}).details.size() == 1);
}
