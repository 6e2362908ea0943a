// SPDX-License-Identifier: Apache-2.0
#include "apps/control/health.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "apps/control/status.h"

namespace natt::control {
namespace {

nlohmann::json numbers_json(const Counters& numbers) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, number] : numbers) json[name] = number;
  return json;
}

nlohmann::json facts_json(const std::vector<std::pair<std::string, bool>>& facts) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, good] : facts) json[name] = good;
  return json;
}

void add_counts(Counters& sums, const Counters& counts) {
  for (const auto& count : counts) {
    const auto found =
        std::find_if(sums.begin(), sums.end(), [&count](const auto& sum) { return sum.first == count.first; });
    if (found == sums.end()) {
      sums.push_back(count);
    } else {
      found->second += count.second;
    }
  }
}

}  // namespace

std::string_view to_string(HealthStatus status) {
  switch (status) {
    case HealthStatus::kHealthy: return "healthy";
    case HealthStatus::kWarning: return "warning";
    case HealthStatus::kError: return "error";
  }
  return "unknown";
}

SpaCounters counters_of(const std::string& site, const spa::VerifierStats& stats) {
  SpaCounters counters{.site = site,
                       .granted = stats.granted,
                       .retransmits = stats.retransmits,
                       .drops = {},
                       .devices = stats.devices,
                       .devices_on_newest_key = stats.devices_on_newest_key,
                       .keys = stats.keys,
                       .own_keys = stats.own_keys,
                       .nonces = stats.nonces,
                       .clock_steps_back = stats.clock_steps_back,
                       .replay = std::nullopt};
  for (std::size_t i = 0; i < spa::kDropReasonCount; ++i) {
    counters.drops.emplace_back(spa::to_string(static_cast<spa::DropReason>(i)), stats.drops[i]);
  }
  return counters;
}

ReplayCounters counters_of(const spa::ReplayStatus& status, Instant now) {
  const Duration left = status.accept_from ? *status.accept_from - now : Duration::zero();
  return {.state = status.state,
          .appended = status.appended,
          .refused = status.refused,
          .restored = status.restored,
          .records_per_slot = status.records_per_slot,
          .refuses_for_seconds = std::max(0.0, std::chrono::duration<double>(left).count())};
}

void Health::add(HealthStatus severity, std::string detail) {
  status = std::max(status, severity);
  details.push_back(std::move(detail));
}

bool Health::check(std::string_view name, bool good) {
  const auto found =
      std::find_if(checks.begin(), checks.end(), [name](const auto& each) { return each.first == name; });
  if (found == checks.end()) {
    checks.emplace_back(name, good);
  } else {
    found->second = found->second && good;
  }
  return good;
}

void Health::add(CounterTable table) {
  const auto found = std::find_if(counters.begin(), counters.end(),
                                  [&table](const CounterTable& each) { return each.name == table.name; });
  if (found == counters.end()) {
    counters.push_back(std::move(table));
  } else {
    add_counts(found->counts, table.counts);
  }
}

void to_json(nlohmann::json& json, const ReplayCounters& counters) {
  json = {{"state", spa::to_string(counters.state)},
          {"appended", counters.appended},
          {"refused", counters.refused},
          {"restored", counters.restored},
          {"recordsPerSlot", counters.records_per_slot},
          {"refusesForSeconds", counters.refuses_for_seconds}};
}

void to_json(nlohmann::json& json, const SpaCounters& counters) {
  json = {{"site", counters.site},
          {"granted", counters.granted},
          {"retransmits", counters.retransmits},
          {"dropped", numbers_json(counters.drops)},
          {"devices", counters.devices},
          {"devicesLoading", counters.devices_loading},
          {"devicesOnNewestKey", counters.devices_on_newest_key},
          {"keys", counters.keys},
          {"ownKeys", counters.own_keys},
          {"nonces", counters.nonces},
          {"clockStepsBack", counters.clock_steps_back}};
  if (counters.replay) json["replay"] = *counters.replay;
}

void to_json(nlohmann::json& json, const TcpDoor& door) {
  json = {{"mode", door.mode}, {"tcpVisibility", door.tcp_visibility}, {"connections", numbers_json(door.counters)}};
}

void to_json(nlohmann::json& json, const KernelGate& gate) {
  json = {{"active", gate.active}};
  if (!gate.active) json["reason"] = gate.reason;
  if (gate.active) json["packets"] = numbers_json(gate.packets);
}

void to_json(nlohmann::json& json, const SiteFacts& facts) {
  json = {{"site", facts.site}, {"rosterNumber", facts.roster_number}};
  if (facts.certificate_end) json["certificateEnd"] = utc_text(*facts.certificate_end);
  if (facts.clock_offset_seconds) json["clockOffsetSeconds"] = *facts.clock_offset_seconds;
  if (!facts.brokers.empty()) json["brokers"] = facts_json(facts.brokers);
  if (!facts.channels.empty()) json["channels"] = numbers_json(facts.channels);
}

void to_json(nlohmann::json& json, const Health& health) {
  json = {{"status", to_string(health.status)}, {"details", health.details}};
  if (!health.checks.empty()) json["checks"] = facts_json(health.checks);
  if (!health.sites.empty()) json["sites"] = health.sites;
  if (!health.gauges.empty()) json["gauges"] = numbers_json(health.gauges);
  for (const CounterTable& table : health.counters) json["counters"][table.name] = numbers_json(table.counts);
  if (!health.spa.empty()) json["spa"] = health.spa;
  if (health.tcp) json["tcp"] = *health.tcp;
  if (health.gate) json["kernelGate"] = *health.gate;
}

}  // namespace natt::control
