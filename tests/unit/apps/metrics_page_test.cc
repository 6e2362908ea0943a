// SPDX-License-Identifier: Apache-2.0
// The exporter against its own catalogue and against docs/OPERATIONS.md: every metric is
// emitted, documented, and none is either without the other.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "apps/gateway/tunnel_counters.h"
#include "apps/metrics/health_metrics.h"
#include "apps/metrics/metric_catalogue.h"
#include "apps/program/library_counters.h"
#include "apps/program/site_status.h"

using namespace natt;
using Catch::Matchers::ContainsSubstring;
using control::Health;

namespace {

// A program that has everything that broker, gateway and client have.
control::Status everything() {
  control::Status status{.program = "broker", .version = "1.2.3"};
  status.since = WallTime{std::chrono::seconds(1'800'000'000)};
  status.session_counts = {.direct = 1, .direct_via_natt = 2, .relayed = 3};
  Health& health = status.health;
  health.check("roster_fresh", true);
  health.check("knocks_journaled", false);
  health.sites.push_back({.site = "hq",
                          .roster_number = 7,
                          .certificate_end = WallTime{std::chrono::seconds(1'900'000'000)},
                          .clock_offset_seconds = -1.5,
                          .brokers = {{"b1", true}, {"b2", false}},
                          .channels = {{"gateway", 4}, {"client", 5}}});
  spa::VerifierStats spa{.granted = 11, .retransmits = 1, .devices = 100'000};
  for (std::size_t i = 0; i < spa::kDropReasonCount; ++i) spa.drops[i] = 100 + i;
  health.spa.push_back(control::counters_of("hq", spa));
  health.spa.back().replay =
      control::counters_of(spa::ReplayStatus{.state = spa::ReplayState::kStale, .appended = 11}, Instant{});
  health.gate = control::KernelGate{.active = true, .reason = {}, .packets = {{"knock", 3}, {"no_shape", 4}}};
  health.tcp = control::TcpDoor{.mode = "tcp",
                                .tcp_visibility = "syn",
                                .counters = program::tcp_counters({.accepted = 2, .pending = 1})};
  health.tcp->counters.insert(health.tcp->counters.end(), {{"knocksUsed", 1}, {"knocksLive", 6}});
  program::add_grant_counters(health, {});
  program::add_signal_counters(health, {});
  program::add_stun_counters(health, {.answered = 21});
  program::add_relay_counters(health, {.bytes_forwarded = 22});
  program::add_join_counters(health, {});
  program::add_punch_counters(health, {});
  program::add_udp_counters(health, {});
  gateway::add_tunnel_counters(health, {});
  health.add({"metricsRequests", {{"served", 1}}});
  health.gauges.insert(health.gauges.end(),
                       {{"tunnelStreams", 1}, {"tunnelSessions", 1}, {"relaySessions", 3}, {"relayBitsPerSecond", 9}});
  return status;
}

// Added by the endpoint, which knows it.
const std::set<std::string> kOfTheEndpoint = {"natt_metrics_last_page_seconds"};

std::set<std::string> found_in(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator each(text.begin(), text.end(), expression), end; each != end; ++each) {
    found.insert((*each)[1].str());
  }
  return found;
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string operations_page() { return content_of(NATT_SOURCE_DIR "/docs/OPERATIONS.md"); }

std::set<std::string> catalogued() {
  std::set<std::string> names;
  for (const metrics::Metric* metric : metrics::kCatalogue) CHECK(names.insert(std::string(metric->name)).second);
  return names;
}

}  // namespace

TEST_CASE("metrics: what is emitted and what is catalogued are the same", "[apps][metrics]") {
  auto emitted = found_in(metrics::page_of(everything()).text(), "# TYPE (\\w+) ");
  emitted.insert(kOfTheEndpoint.begin(), kOfTheEndpoint.end());
  CHECK(emitted == catalogued());
}

TEST_CASE("metrics: the manual lists every metric with its labels, and no other", "[apps][metrics]") {
  const std::string manual = operations_page();
  CHECK(found_in(manual, "\n\\| `(\\w+)(?:\\{[^`]*\\})?` \\| (?:counter|gauge) \\|") == catalogued());
  for (const metrics::Metric* metric : metrics::kCatalogue) {
    std::string labels;
    for (const std::string_view label : metric->labels) {
      if (!label.empty()) labels += (labels.empty() ? "" : ",") + std::string(label);
    }
    const std::string kind = metric->kind == metrics::Metric::Kind::kCounter ? "counter" : "gauge";
    CHECK_THAT(manual, ContainsSubstring("| `" + std::string(metric->name) +
                                         (labels.empty() ? "" : "{" + labels + "}") + "` | " + kind + " |"));
  }
}

TEST_CASE("metrics: the manual explains every check of the health", "[apps][metrics]") {
  // Read out of the sources, because a program knows only the checks of its own role.
  std::set<std::string> checks;
  for (const auto& source : std::filesystem::recursive_directory_iterator(NATT_SOURCE_DIR "/apps")) {
    if (source.path().extension() != ".cc") continue;
    checks.merge(found_in(content_of(source.path()), "health\\.check\\(\"(\\w+)\""));
  }
  CHECK(checks.size() >= 20);
  CHECK(found_in(operations_page(), "\n\\| `(\\w+)` \\| (?:all|broker|gateway|client)") == checks);
}

TEST_CASE("metrics: names follow the conventions of Prometheus", "[apps][metrics]") {
  const std::regex name("(natt|process)(_[a-z]+)+");
  for (const metrics::Metric* metric : metrics::kCatalogue) {
    CAPTURE(metric->name);
    CHECK(std::regex_match(std::string(metric->name), name));
    CHECK((metric->kind == metrics::Metric::Kind::kCounter) == metric->name.ends_with("_total"));
    CHECK(metric->help.ends_with("."));
    for (const std::string_view label : metric->labels)
      CHECK(label.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string_view::npos);
  }
}

TEST_CASE("metrics: samples carry the numbers of the health", "[apps][metrics]") {
  const std::string text = metrics::page_of(everything()).text();
  for (const char* line : {
           "\nnatt_build_info{program=\"broker\",version=\"1.2.3\"} 1\n",
           "\nprocess_start_time_seconds 1800000000\n",
           "\nnatt_health_status{status=\"healthy\"} 1\n",
           "\nnatt_health{check=\"roster_fresh\"} 1\n",
           "\nnatt_health{check=\"knocks_journaled\"} 0\n",
           "\nnatt_sessions{type=\"directViaNatt\"} 2\n",
           "\nnatt_roster_number{site=\"hq\"} 7\n",
           "\nnatt_certificate_expiry_timestamp_seconds{site=\"hq\"} 1900000000\n",
           "\nnatt_clock_offset_seconds{site=\"hq\"} -1.5\n",
           "\nnatt_broker_connected{site=\"hq\",broker=\"b2\"} 0\n",
           "\nnatt_signal_channels{site=\"hq\",role=\"client\"} 5\n",
           "\nnatt_spa_frames_total{site=\"hq\",verdict=\"granted\"} 11\n",
           "\nnatt_spa_frames_total{site=\"hq\",verdict=\"unknown_hint\"} 100\n",
           "\nnatt_spa_frames_total{site=\"hq\",verdict=\"not_permitted\"} 115\n",
           "\nnatt_spa_devices{site=\"hq\"} 100000\n",
           "\nnatt_spa_replay_journal_state{site=\"hq\",state=\"stale\"} 1\n",
           "\nnatt_spa_replay_journal_state{site=\"hq\",state=\"complete\"} 0\n",
           "\nnatt_spa_gate_packets_total{verdict=\"no_shape\"} 4\n",
           "\nnatt_tcp_door_info{mode=\"tcp\",visibility=\"syn\"} 1\n",
           "\nnatt_tcp_connections_total{verdict=\"accepted\"} 2\n",
           "\nnatt_tcp_connections_unproven 1\n",
           "\nnatt_stun_requests_total{verdict=\"answered\"} 21\n",
           "\nnatt_relay_bytes_total 22\n",
       }) {
    CHECK_THAT(text, ContainsSubstring(line));
  }
}

TEST_CASE("metrics: a hostile name of a site cannot break out of its label", "[apps][metrics]") {
  metrics::MetricPage page;
  page.add(metrics::kRosterNumber, {"a\"} 1\nnatt_evil 2\\"}, std::uint64_t{1});
  const std::string text = page.text();
  CHECK_THAT(text, ContainsSubstring("natt_roster_number{site=\"a\\\"} 1\\nnatt_evil 2\\\\\"} 1\n"));
  CHECK(text.find("\nnatt_evil") == std::string::npos);
}

TEST_CASE("metrics: a gateway of a TLS site tells of its TCP port, and of both kinds of tunnels", "[apps][metrics]") {
  control::Status status{.program = "gateway", .version = "1"};
  Health& health = status.health;
  gateway::add_tunnel_counters(health, {.handshakes_failed = 1, .connections = 2});
  gateway::add_tls_counters(health, {.over_limit = 3, .handshakes_failed = 4, .connections = 5});
  gateway::add_door(health, {.plan = {.visibility = TcpVisibility::kOpen, .shortfall = "no gate"},
                             .connections = {.admitted = 6, .pending = 7}});

  const std::string text = metrics::page_of(status).text();

  CHECK_THAT(text, ContainsSubstring("natt_tunnel_connections 7\n"));
  CHECK_THAT(text, ContainsSubstring("natt_tunnel_events_total{event=\"handshake_failed\"} 5\n"));
  CHECK_THAT(text, ContainsSubstring("natt_tunnel_events_total{event=\"tcp_over_limit\"} 3\n"));
  CHECK_THAT(text, ContainsSubstring("natt_tcp_door_info{mode=\"tcp\",visibility=\"open\"} 1\n"));
  CHECK_THAT(text, ContainsSubstring("natt_tcp_connections_total{verdict=\"admitted\"} 6\n"));
  CHECK_THAT(text, ContainsSubstring("natt_tcp_connections_unproven 7\n"));
  CHECK_THAT(text, ContainsSubstring("natt_health{check=\"tcp_visibility_as_wanted\"} 0\n"));
  CHECK(health.details == std::vector<std::string>{"no gate"});
}

TEST_CASE("metrics: counters up to 2^53 come out exactly", "[apps][metrics]") {
  metrics::MetricPage page;
  page.add(metrics::kRelayBytes, {}, std::uint64_t{9'007'199'254'740'991});
  CHECK_THAT(page.text(), ContainsSubstring("natt_relay_bytes_total 9007199254740991\n"));
}

TEST_CASE("metrics: every field of the libraries' counters is surfaced", "[apps][metrics]") {
  const auto fields = [](auto add, const auto& stats) {
    Health health;
    add(health, stats);
    std::size_t count = 0;
    for (const auto& table : health.counters) count += table.counts.size();
    return count + health.gauges.size();
  };
  constexpr std::size_t kField = sizeof(std::uint64_t);
  CHECK(fields(program::add_stun_counters, StunServer::Stats{}) * kField == sizeof(StunServer::Stats));
  CHECK(fields(program::add_relay_counters, RelayStats{}) * kField == sizeof(RelayStats));
  // Without those that Broker::relay_stats() has: opened, closed, octets.
  CHECK((fields(program::add_join_counters, TcpRelayStats{}) + 3) * kField == sizeof(TcpRelayStats));
  CHECK(fields(program::add_signal_counters, SignalHubStats{}) * kField == sizeof(SignalHubStats));
  CHECK(fields(program::add_grant_counters, AddressGrantsStats{}) * kField == sizeof(AddressGrantsStats));
  CHECK(fields(program::add_punch_counters, PunchAgent::Stats{}) * kField == sizeof(PunchAgent::Stats));
  CHECK(fields(gateway::add_tunnel_counters, tunnel::ServerStats{}) * kField == sizeof(tunnel::ServerStats));
  CHECK(fields(gateway::add_tls_counters, tunnel::TlsServerStats{}) * kField == sizeof(tunnel::TlsServerStats));
  // Without its trains and the sizes of its buffers.
  CHECK((fields(program::add_udp_counters, natt::uv::UdpSocket::Stats{}) + 4) * kField ==
        sizeof(natt::uv::UdpSocket::Stats));
}

TEST_CASE("metrics: every table and gauge of the health has its place on the page", "[apps][metrics]") {
  const std::string without = metrics::page_of({}).text();
  const Health all = everything().health;
  CHECK(all.counters.size() >= 17);
  for (const control::CounterTable& table : all.counters) {
    CAPTURE(table.name);
    control::Status status;
    status.health.counters.push_back(table);
    CHECK(metrics::page_of(status).text() != without);
  }
  for (const auto& gauge : all.gauges) {
    CAPTURE(gauge.first);
    control::Status status;
    status.health.gauges.push_back(gauge);
    CHECK(metrics::page_of(status).text() != without);
  }
}

TEST_CASE("health: a check is bad when it is bad at one of several sites", "[apps][health]") {
  Health health;
  CHECK(health.check("roster_fresh", true));
  CHECK_FALSE(health.check("roster_fresh", false));
  CHECK(health.check("roster_fresh", true));
  REQUIRE(health.checks.size() == 1);
  CHECK_FALSE(health.checks[0].second);
}

TEST_CASE("health: counters of several sites are added up", "[apps][health]") {
  Health health;
  health.add({"udpBytes", {{"in", 1}, {"out", 2}}});
  health.add({"udpBytes", {{"in", 10}, {"lost", 5}}});
  REQUIRE(health.counters.size() == 1);
  CHECK(health.counters[0].counts == control::Counters{{"in", 11}, {"out", 2}, {"lost", 5}});
}
