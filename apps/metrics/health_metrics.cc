// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/health_metrics.h"

#include <algorithm>
#include <span>

#include "apps/metrics/metric_catalogue.h"

namespace natt::metrics {
namespace {

// Where a table of Health::counters or a number of Health::gauges goes.
struct Place {
  std::string_view name;
  const Metric* metric;
};
constexpr std::array kCounterPlaces = {Place{"knockGrants", &kAddressGrants},
                                       Place{"signalHandshakes", &kSignalHandshakes},
                                       Place{"signalMessages", &kSignalMessages},
                                       Place{"signalOffers", &kSignalOffers},
                                       Place{"signalEnds", &kSignalEnds},
                                       Place{"stunRequests", &kStunRequests},
                                       Place{"relayPackets", &kRelayPackets},
                                       Place{"relayBytes", &kRelayBytes},
                                       Place{"relayEvents", &kRelayEvents},
                                       Place{"relayJoins", &kRelayJoins},
                                       Place{"tunnelPacketsDropped", &kTunnelDrops},
                                       Place{"tunnelEvents", &kTunnelEvents},
                                       Place{"punchEvents", &kPunchEvents},
                                       Place{"punchPacketsDropped", &kPunchDrops},
                                       Place{"udpDatagrams", &kUdpDatagrams},
                                       Place{"udpBytes", &kUdpBytes},
                                       Place{"udpErrors", &kUdpErrors},
                                       Place{"metricsRequests", &kMetricsRequests}};
constexpr std::array kGaugePlaces = {
    Place{"tunnelConnections", &kTunnelConnections}, Place{"tunnelStreams", &kTunnelStreams},
    Place{"tunnelSessions", &kTunnelSessions},       Place{"relaySessions", &kRelaySessions},
    Place{"relayBitsPerSecond", &kRelayRate},
};

const Metric* find_place(std::span<const Place> places, std::string_view name) {
  const auto found =
      std::find_if(places.begin(), places.end(), [name](const Place& each) { return each.name == name; });
  return found == places.end() ? nullptr : found->metric;
}

double unix_seconds(WallTime time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

// One sample for each of `names`: 1 for the one that holds.
template <typename Names>
void add_state(MetricPage& page, const Metric& metric, const std::string& site, const Names& names,
               std::string_view holds) {
  for (const auto each : names) {
    const std::string_view name = to_string(each);
    page.add(metric, {site, name}, name == holds);
  }
}

void add_program(MetricPage& page, const control::Status& status) {
  page.add(kBuildInfo, {status.program, status.version}, true);
  page.add(kStartTime, {}, unix_seconds(status.since));
  for (const auto each :
       {control::HealthStatus::kHealthy, control::HealthStatus::kWarning, control::HealthStatus::kError}) {
    page.add(kHealthStatus, {control::to_string(each)}, each == status.health.status);
  }
  for (const auto& [name, good] : status.health.checks) page.add(kHealth, {name}, good);
  page.add(kSessions, {"direct"}, status.session_counts.direct);
  page.add(kSessions, {"directViaNatt"}, status.session_counts.direct_via_natt);
  page.add(kSessions, {"relayed"}, status.session_counts.relayed);
}

void add_site(MetricPage& page, const control::SiteFacts& facts) {
  page.add(kRosterNumber, {facts.site}, facts.roster_number);
  if (facts.certificate_end) page.add(kCertificateEnd, {facts.site}, unix_seconds(*facts.certificate_end));
  if (facts.clock_offset_seconds) page.add(kClockOffset, {facts.site}, *facts.clock_offset_seconds);
  for (const auto& [broker, connected] : facts.brokers) page.add(kBrokerConnected, {facts.site, broker}, connected);
  for (const auto& [role, count] : facts.channels) page.add(kSignalChannels, {facts.site, role}, count);
}

void add_replay(MetricPage& page, const std::string& site, const control::ReplayCounters& replay) {
  using spa::ReplayState;
  constexpr std::array kStates = {ReplayState::kComplete, ReplayState::kFirst,   ReplayState::kMissing,
                                  ReplayState::kStale,    ReplayState::kCorrupt, ReplayState::kUnavailable};
  add_state(page, kReplayState, site, kStates, spa::to_string(replay.state));
  page.add(kReplayRecords, {site, "appended"}, replay.appended);
  page.add(kReplayRecords, {site, "refused"}, replay.refused);
  page.add(kReplayRestored, {site}, replay.restored);
  page.add(kReplayRoom, {site}, replay.records_per_slot);
  page.add(kReplayRefuses, {site}, replay.refuses_for_seconds);
}

void add_spa(MetricPage& page, const control::SpaCounters& spa) {
  page.add(kSpaFrames, {spa.site, "granted"}, spa.granted);
  for (const auto& [reason, count] : spa.drops) page.add(kSpaFrames, {spa.site, reason}, count);
  page.add(kSpaRetransmits, {spa.site}, spa.retransmits);
  page.add(kSpaDevices, {spa.site}, spa.devices);
  page.add(kSpaDevicesLoading, {spa.site}, spa.devices_loading);
  page.add(kSpaDevicesOnNewestKey, {spa.site}, spa.devices_on_newest_key);
  page.add(kSpaKeys, {spa.site}, spa.keys);
  page.add(kSpaOwnKeys, {spa.site}, spa.own_keys);
  page.add(kSpaNonces, {spa.site}, spa.nonces);
  page.add(kSpaClockStepsBack, {spa.site}, spa.clock_steps_back);
  if (spa.replay) add_replay(page, spa.site, *spa.replay);
}

void add_door(MetricPage& page, const control::TcpDoor& door) {
  page.add(kTcpDoor, {door.mode, door.tcp_visibility}, true);
  for (const auto& [name, count] : door.counters) {
    if (name == "unproven") {
      page.add(kTcpPending, {}, count);
    } else if (name == "silenced") {
      page.add(kTcpSilenced, {}, count);
    } else if (name == "knocksLive") {
      page.add(kTcpGrantsLive, {}, count);
    } else if (name != "knocksUsed") {  // kAddressGrants has it as "redeemed"
      page.add(kTcpConnections, {name}, count);
    }
  }
}

void add_table(MetricPage& page, const control::CounterTable& table) {
  const Metric* metric = find_place(kCounterPlaces, table.name);
  if (metric == nullptr) return;
  for (const auto& [name, count] : table.counts) {
    if (metric->labels[0].empty()) {
      page.add(*metric, {}, count);
    } else {
      page.add(*metric, {name}, count);
    }
  }
}

}  // namespace

MetricPage page_of(const control::Status& status) {
  MetricPage page;
  const control::Health& health = status.health;
  add_program(page, status);
  for (const control::SiteFacts& site : health.sites) add_site(page, site);
  for (const control::SpaCounters& spa : health.spa) add_spa(page, spa);
  if (health.gate) {
    page.add(kGateActive, {}, health.gate->active);
    for (const auto& [verdict, count] : health.gate->packets) page.add(kGatePackets, {verdict}, count);
  }
  if (health.tcp) add_door(page, *health.tcp);
  for (const control::CounterTable& table : health.counters) add_table(page, table);
  for (const auto& [name, number] : health.gauges) {
    if (const Metric* metric = find_place(kGaugePlaces, name)) page.add(*metric, {}, number);
  }
  return page;
}

}  // namespace natt::metrics
