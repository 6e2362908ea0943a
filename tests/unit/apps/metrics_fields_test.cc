// SPDX-License-Identifier: Apache-2.0
// Every field of what verifier, journal and TCP port count, with the place where an operator
// finds it. A field that is added to one of these structs does not compile here: give it its
// place on the page, or in the health, and its row.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <map>
#include <numeric>
#include <set>

#include <nlohmann/json.hpp>

#include "apps/metrics/health_metrics.h"
#include "apps/program/library_counters.h"
#include "apps/program/site_status.h"

using namespace natt;
using Catch::Matchers::ContainsSubstring;
using control::Health;

namespace {

// Sample name and labels, and its value. Each value occurs once in a page.
using Rows = std::map<std::string, std::uint64_t>;

// Both of what is made of the health: /metrics and `nattctl health --json`.
void check_rows(const Health& health, const Rows& rows) {
  const std::string page = metrics::page_of(control::Status{.health = health}).text();
  const std::string json = nlohmann::json(health).dump();
  std::set<std::uint64_t> values;
  for (const auto& [sample, value] : rows) {
    CAPTURE(sample);
    CHECK(values.insert(value).second);
    CHECK_THAT(page, ContainsSubstring("\n" + sample + " " + std::to_string(value) + "\n"));
    CHECK_THAT(json, ContainsSubstring(":" + std::to_string(value)));
  }
}

// What natt_health says under this name.
bool is_good(const Health& health, const std::string& check) {
  const std::string page = metrics::page_of(control::Status{.health = health}).text();
  const std::string sample = "\nnatt_health{check=\"" + check + "\"} ";
  const std::size_t place = page.find(sample);
  REQUIRE(place != std::string::npos);
  return page[place + sample.size()] == '1';
}

std::string label_of(std::size_t reason) {
  return std::string(spa::to_string(static_cast<spa::DropReason>(reason)));
}

}  // namespace

TEST_CASE("metrics: every field of a verifier's counters has its place", "[apps][metrics]") {
  spa::VerifierStats stats;
  auto& [granted, retransmits, drops, devices, keys, nonces, keys_locked, clock_steps_back, devices_on_newest_key,
         own_keys] = stats;
  granted = 1001;
  retransmits = 1002;
  devices = 1003;
  keys = 1004;
  nonces = 1005;
  clock_steps_back = 1006;
  devices_on_newest_key = 1007;
  own_keys = 1008;
  std::iota(drops.begin(), drops.end(), 2000U);
  keys_locked = false;

  Health health;
  health.spa.push_back(control::counters_of("hq", stats));
  program::add_lock_health(health, "hq", stats);

  Rows rows = {{"natt_spa_frames_total{site=\"hq\",verdict=\"granted\"}", 1001},
               {"natt_spa_retransmits_total{site=\"hq\"}", 1002},
               {"natt_spa_devices{site=\"hq\"}", 1003},
               {"natt_spa_keys{site=\"hq\"}", 1004},
               {"natt_spa_nonces{site=\"hq\"}", 1005},
               {"natt_spa_clock_steps_back_total{site=\"hq\"}", 1006},
               {"natt_spa_devices_on_newest_key{site=\"hq\"}", 1007},
               {"natt_spa_own_keys{site=\"hq\"}", 1008}};
  for (std::size_t i = 0; i < drops.size(); ++i) {
    rows["natt_spa_frames_total{site=\"hq\",verdict=\"" + label_of(i) + "\"}"] = 2000 + i;
  }
  CHECK(rows.size() == 8 + spa::kDropReasonCount);  // no two reasons of one name
  check_rows(health, rows);
  CHECK_FALSE(is_good(health, "spa_keys_locked"));
  CHECK(health.status == control::HealthStatus::kWarning);

  Health locked;
  keys_locked = true;
  program::add_lock_health(locked, "hq", stats);
  CHECK(is_good(locked, "spa_keys_locked"));
  CHECK(locked.details.empty());
}

TEST_CASE("metrics: every field of a replay journal's status has its place", "[apps][metrics]") {
  constexpr Instant kNow{std::chrono::hours(1)};
  spa::ReplayStatus status;
  auto& [state, reason, accept_from, restored, appended, refused, records_per_slot, in_locked_memory, no_room] = status;
  state = spa::ReplayState::kStale;
  reason = "it is too old";
  accept_from = kNow + std::chrono::seconds(1001);
  restored = 1002;
  appended = 1003;
  refused = 1004;
  records_per_slot = 1005;
  in_locked_memory = false;
  no_room = "the disk is full";

  Health health;
  health.spa.push_back(control::counters_of("hq", spa::VerifierStats{}));
  health.spa.back().replay = control::counters_of(status, kNow);
  program::add_replay_health(health, "hq", status, kNow);

  check_rows(health, {{"natt_spa_refuses_for_seconds{site=\"hq\"}", 1001},
                      {"natt_spa_replay_journal_restored{site=\"hq\"}", 1002},
                      {"natt_spa_replay_journal_records_total{site=\"hq\",result=\"appended\"}", 1003},
                      {"natt_spa_replay_journal_records_total{site=\"hq\",result=\"refused\"}", 1004},
                      {"natt_spa_replay_journal_room{site=\"hq\"}", 1005}});
  CHECK_FALSE(is_good(health, "knocks_accepted"));
  CHECK_FALSE(is_good(health, "replay_journal_had_room"));
  CHECK_FALSE(is_good(health, "replay_journal_has_room"));
  CHECK_FALSE(is_good(health, "replay_journal_in_locked_memory"));
  const std::string told = std::accumulate(health.details.begin(), health.details.end(), std::string());
  CHECK_THAT(told, ContainsSubstring(reason) && ContainsSubstring(no_room));
}

TEST_CASE("metrics: each state of a replay journal is the one that the page shows", "[apps][metrics]") {
  using spa::ReplayState;
  std::set<std::string> names;
  for (const ReplayState state : {ReplayState::kComplete, ReplayState::kFirst, ReplayState::kMissing,
                                  ReplayState::kStale, ReplayState::kCorrupt, ReplayState::kUnavailable}) {
    const std::string name(spa::to_string(state));
    CAPTURE(name);
    CHECK(names.insert(name).second);
    control::Status status;
    status.health.spa.push_back(control::counters_of("hq", spa::VerifierStats{}));
    status.health.spa.back().replay = control::counters_of(spa::ReplayStatus{.state = state}, Instant{});
    const std::string page = metrics::page_of(status).text();

    const std::string sample = "\nnatt_spa_replay_journal_state{site=\"hq\",state=\"";
    CHECK_THAT(page, ContainsSubstring(sample + name + "\"} 1\n"));
    std::size_t others = 0;
    for (std::size_t at = page.find(sample); at != std::string::npos; at = page.find(sample, at + 1)) {
      others += page.compare(page.find("} ", at), 4, "} 0\n") == 0 ? 1U : 0U;
    }
    CHECK(others == 5);
  }
}

TEST_CASE("metrics: every field of the TCP port's counters has its place", "[apps][metrics]") {
  SignalAdmissionStats stats;
  auto& [accepted, admitted, rejected_shape, rejected_verdict, rejected_knock, timed_out, overflow, pending,
         silenced] = stats;
  accepted = 1001;
  admitted = 1002;
  rejected_shape = 1003;
  rejected_verdict = 1004;
  rejected_knock = 1005;
  timed_out = 1006;
  overflow = 1007;
  pending = 1008;
  silenced = 1009;

  Health health;
  health.tcp = control::TcpDoor{.mode = "tcp", .tcp_visibility = "syn", .counters = program::tcp_counters(stats)};

  CHECK(health.tcp->counters.size() == 9);
  check_rows(health, {{"natt_tcp_connections_total{verdict=\"accepted\"}", 1001},
                      {"natt_tcp_connections_total{verdict=\"admitted\"}", 1002},
                      {"natt_tcp_connections_total{verdict=\"badShape\"}", 1003},
                      {"natt_tcp_connections_total{verdict=\"badFrame\"}", 1004},
                      {"natt_tcp_connections_total{verdict=\"noKnock\"}", 1005},
                      {"natt_tcp_connections_total{verdict=\"timedOut\"}", 1006},
                      {"natt_tcp_connections_total{verdict=\"pushedOut\"}", 1007},
                      {"natt_tcp_connections_unproven", 1008},
                      {"natt_tcp_connections_silenced", 1009}});
}
