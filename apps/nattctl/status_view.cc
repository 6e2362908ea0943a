// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/status_view.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/nattctl/text_table.h"

namespace natt::ctl {
namespace {

using nlohmann::json;

const json& field(const json& object, const char* key) {
  static const json kNothing;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

std::string plain(const json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.1f}", value.get<double>());
  return value.dump();
}

std::string cell(const json& object, const char* key) { return plain(field(object, key)); }

TextTable table_of(const json& list, std::vector<std::string> header, const std::vector<const char*>& keys) {
  TextTable table(std::move(header));
  if (!list.is_array()) return table;
  for (const json& element : list) {
    std::vector<std::string> row;
    for (const char* key : keys) row.push_back(cell(element, key));
    table.add(std::move(row));
  }
  return table;
}

std::string health_text(const json& health) {
  std::string text = fmt::format("health: {}\n", cell(health, "status"));
  const json& details = field(health, "details");
  if (details.is_array()) {
    for (const json& detail : details) text += fmt::format("  {}\n", plain(detail));
  }
  return text;
}

// What of the counters is not zero: "unknown_hint 12, replayed 3".
std::string counters_text(const json& counters) {
  std::string text;
  if (!counters.is_object()) return text;
  for (const auto& [name, number] : counters.items()) {
    if (number.is_number_unsigned() && number.get<std::uint64_t>() > 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, plain(number));
    }
  }
  return text.empty() ? "none" : text;
}

std::string spa_text(const json& health) {
  std::string text;
  const json& sites = field(health, "spa");
  if (sites.is_array()) {
    for (const json& site : sites) {
      text += fmt::format("knocks of site {}: {} granted; dropped: {}\n", cell(site, "site"), cell(site, "granted"),
                          counters_text(field(site, "dropped")));
    }
  }
  const json& tcp = field(health, "tcp");
  if (tcp.is_object()) {
    text += fmt::format("TCP: mode {}, visibility {}; connections: {}\n", cell(tcp, "mode"), cell(tcp, "tcpVisibility"),
                        counters_text(field(tcp, "connections")));
  }
  const json& gate = field(health, "kernelGate");
  if (gate.is_object()) {
    const bool active = gate.value("active", false);
    text += active ? fmt::format("kernel gate: on; packets: {}\n", counters_text(field(gate, "packets")))
                   : fmt::format("kernel gate: off, {}\n", cell(gate, "reason"));
  }
  const json& counters = field(health, "counters");
  if (counters.is_object()) {
    for (const auto& [name, counts] : counters.items()) text += fmt::format("{}: {}\n", name, counters_text(counts));
  }
  return text;
}

std::string counts_text(const json& object) {
  const json& counts = field(object, "sessionCounts");
  const json& relayed = field(object, "relayed");
  return fmt::format(
      "sessions: {} direct, {} direct via NAT traversal, {} relayed\nrelayed now: {} sessions, {} bit/s\n",
      cell(counts, "direct"), cell(counts, "directViaNatt"), cell(counts, "relayed"), cell(relayed, "sessions"),
      cell(relayed, "dataThroughputBitsPerSecond"));
}

std::string sessions_text(const json& sessions) {
  const TextTable table = table_of(sessions,
                                   {"SITE", "CLIENT", "GATEWAY", "CONNECTION TYPE", "PROTOCOL", "RELAY REASON", "LOCAL",
                                    "REMOTE", "RTT MS", "BYTES IN", "BYTES OUT", "SINCE"},
                                   {"site", "client", "gateway", "connectionType", "protocol", "relayReason",
                                    "localAddress", "remoteAddress", "rttMs", "bytesIn", "bytesOut", "since"});
  return table.empty() ? "no sessions\n" : table.render();
}

std::string status_text(const json& status) {
  std::string text =
      fmt::format("{} {} since {}\n", cell(status, "program"), cell(status, "version"), cell(status, "since"));
  const json& identities = field(status, "identities");
  if (identities.is_array()) {
    for (const json& identity : identities) text += fmt::format("  {}\n", plain(identity));
  }
  text += health_text(field(status, "health")) + counts_text(status);
  if (field(status, "connections").is_array()) text += "\n" + sessions_text(field(status, "connections"));
  return text;
}

std::string sites_text(const json& sites) {
  if (!sites.is_array() || sites.empty()) return "no sites\n";
  std::string text;
  for (const json& site : sites) {
    text += fmt::format("{}site {} (roster {}, next due {})\n{}", text.empty() ? "" : "\n", cell(site, "name"),
                        cell(site, "rosterNumber"), cell(site, "rosterNextUpdate"), counts_text(site));
    const TextTable peers = table_of(field(site, "peers"), {"ROLE", "NAME", "STATE", "ADDRESS", "SINCE", "DETAIL"},
                                     {"role", "name", "state", "address", "since", "detail"});
    if (!peers.empty()) text += peers.render();
  }
  return text;
}

std::string nat_sockets_text(const json& sockets) {
  const TextTable table =
      table_of(sockets, {"SITE", "BROKER", "LOCAL", "BROKER ADDRESS", "MAPPED", "STATE", "LAST RESPONSE", "ERROR"},
               {"site", "broker", "localAddress", "brokerAddress", "mappedAddress", "state", "lastResponse", "error"});
  return table.empty() ? "no NAT sockets\n" : table.render();
}

}  // namespace

std::string render_view(std::string_view command, const json& result) {
  if (command == "status") return status_text(result);
  if (command == "health") return health_text(result) + spa_text(result);
  if (command == "sites") return sites_text(field(result, "sites"));
  if (command == "sessions") return sessions_text(field(result, "sessions"));
  if (command == "nat-sockets") return nat_sockets_text(field(result, "natSockets"));
  return result.dump(2) + "\n";
}

}  // namespace natt::ctl
