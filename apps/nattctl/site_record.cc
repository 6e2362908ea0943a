// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/site_record.h"

#include <charconv>

#include <fmt/format.h>

#include "apps/config/base64.h"
#include "apps/config/toml_table.h"
#include "apps/gateway/entitlement_rule.h"

namespace natt::ctl {
namespace {

std::optional<tunnel::TunnelProtocol> parse_protocol(std::string_view text) {
  if (text == "quic") return tunnel::TunnelProtocol::kQuic;
  return text == "tls" ? std::optional(tunnel::TunnelProtocol::kTls) : std::nullopt;
}

// "NAME=MODE".
std::optional<std::pair<std::string, config::SpaMode>> parse_broker_mode(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || !is_valid_name(text.substr(0, equals))) return std::nullopt;
  const auto mode = config::parse_spa_mode(text.substr(equals + 1));
  return mode ? std::optional(std::pair{std::string(text.substr(0, equals)), *mode}) : std::nullopt;
}

std::optional<Secret<32>> parse_psk(std::string_view text) {
  const auto bytes = config::base64_decode(text);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return Secret<32>(std::span<const std::uint8_t, 32>(bytes->data(), 32));
}

std::optional<std::string> parse_name(std::string_view text) {
  return is_valid_name(text) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<CertificateSerial> parse_serial(std::string_view text) {
  CertificateSerial serial;
  if (text.size() != 2 * serial.octets.size()) return std::nullopt;
  for (std::size_t i = 0; i < serial.octets.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, serial.octets[i], 16).ptr != at + 2) return std::nullopt;
  }
  return serial;
}

std::optional<IssuedRecord> parse_issued(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = line.find(' ', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  const auto identity = Identity::parse(line.substr(0, first));
  const auto serial = parse_serial(line.substr(first + 1, second - first - 1));
  const std::string_view time = line.substr(second + 1);
  std::int64_t seconds = 0;
  const auto [stop, failed] = std::from_chars(time.data(), time.data() + time.size(), seconds);
  const bool complete = failed == std::errc{} && stop == time.data() + time.size();
  if (!identity || !serial || !complete || seconds < 0 || seconds > INT64_C(253402300799)) return std::nullopt;
  return IssuedRecord{*identity, *serial, WallTime(std::chrono::seconds(seconds))};
}

}  // namespace

config::SpaMode SiteRecord::mode_of(const std::string& broker) const {
  const auto own = broker_modes.find(broker);
  return own == broker_modes.end() ? spa_mode : own->second;
}

std::string SiteRecord::serialize() const {
  std::string rules;
  for (const std::string& rule : allow) rules += fmt::format("{}\"{}\"", rules.empty() ? "" : ", ", rule);
  std::string modes;
  for (const auto& [broker, mode] : broker_modes) {
    modes += fmt::format("{}\"{}={}\"", modes.empty() ? "" : ", ", broker, to_string(mode));
  }
  return fmt::format(
      "# What nattctl remembers about this site. Holds the site's pre-shared key: keep it 0600.\n"
      "name = \"{}\"\nprotocol = \"{}\"\nspa_mode = \"{}\"\nbroker_modes = [{}]\nfirst_broker = \"{}\"\nallow = [{}]\npsk = \"{}\"\n",
      name, to_string(protocol), to_string(spa_mode), modes, first_broker, rules, config::base64_encode(psk.view()));
}

Result<SiteRecord> SiteRecord::parse(std::string_view text, const std::filesystem::path& file) {
  config::Complaints complaints(file);
  const auto document = config::parse_toml(text, complaints);
  if (!document) return tl::unexpected(*complaints.first());
  config::TableReader root(*document, "", complaints);
  for (const std::string_view key : {"name", "protocol", "spa_mode", "first_broker", "psk"}) root.require(key);
  SiteRecord record;
  record.name = root.parsed("name", parse_name, "a site's name").value_or("");
  record.protocol = root.parsed("protocol", parse_protocol, "\"quic\" or \"tls\"").value_or(record.protocol);
  record.spa_mode = root.parsed("spa_mode", config::parse_spa_mode, config::kSpaModeForm).value_or(record.spa_mode);
  for (auto& [broker, mode] : root.parsed_list("broker_modes", config::kMaxPeersPerSite, parse_broker_mode,
                                               "a broker's name, = and its mode")) {
    record.broker_modes[broker] = mode;
  }
  record.first_broker = root.parsed("first_broker", parse_name, "a broker's name").value_or("");
  record.psk = root.parsed("psk", parse_psk, "32 octets in base64").value_or(Secret<32>{});
  record.allow = root.texts("allow", gateway::kMaxRulesPerEntitlement);
  root.finish();
  if (complaints.first()) return tl::unexpected(*complaints.first());
  return record;
}

std::string serialize_ledger(const std::vector<IssuedRecord>& ledger) {
  std::string text;
  for (const IssuedRecord& issued : ledger) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(issued.not_after.time_since_epoch()).count();
    text += fmt::format("{} {} {}\n", issued.identity.uri(), issued.serial.to_string(), seconds);
  }
  return text;
}

Result<std::vector<IssuedRecord>> parse_ledger(std::string_view text, const std::filesystem::path& file) {
  std::vector<IssuedRecord> ledger;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const auto issued = end == std::string_view::npos ? std::nullopt : parse_issued(text.substr(0, end));
    if (!issued) {
      return fail(std::make_error_code(std::errc::invalid_argument),
                  fmt::format("{}:{}: not a line that nattctl wrote; restore the file from a backup", file.string(),
                              ledger.size() + 1));
    }
    ledger.push_back(*issued);
    text.remove_prefix(end + 1);
  }
  return ledger;
}

}  // namespace natt::ctl
