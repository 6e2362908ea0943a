// SPDX-License-Identifier: Apache-2.0
#include "apps/config/site_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "apps/config/address_block.h"
#include "apps/config/base64.h"
#include "apps/config/program_tables.h"
#include "apps/config/site_material.h"

namespace natt::config {
namespace {

std::optional<std::string> parse_name(std::string_view text) {
  return is_valid_name(text) ? std::optional(std::string(text)) : std::nullopt;
}

std::optional<Secret<32>> parse_secret(std::string_view text) {
  auto bytes = base64_decode(text);
  std::optional<Secret<32>> secret;
  if (bytes && bytes->size() == 32) secret.emplace(std::span<const std::uint8_t, 32>(bytes->data(), 32));
  if (bytes) secure_zero(*bytes);
  return secret;
}

constexpr std::string_view kNameForm = "a name of 1 to 63 characters out of a-z, 0-9 and -";
constexpr std::string_view kSecretForm = "32 octets in base64, as nattctl writes them";

TunnelProtocol read_protocol(TableReader& table) {
  const auto text = table.text("protocol");
  if (!text || *text == "quic") return TunnelProtocol::kQuic;
  if (*text == "tls") return TunnelProtocol::kTls;
  table.complain("protocol", *text == "dtls" ? "DTLS is not supported as site tunnel protocol with NAT traversal; "
                                               "select QUIC (\"quic\") or TLS (\"tls\")"
                                             : "expected \"quic\" or \"tls\"");
  return TunnelProtocol::kQuic;
}

std::string read_pem(TableReader& table, std::string_view key, std::string_view label) {
  table.require(key);
  auto text = table.text(key);
  if (!text) return {};
  if (text->find(fmt::format("-----BEGIN {}-----", label)) == std::string::npos) {
    table.complain(key, fmt::format("expected a PEM {}", label));
  }
  return std::move(*text);
}

// "GENERATION:BASE64".
std::optional<SpaKey> parse_spa_key(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto generation = parse_port(text.substr(0, colon));  // the same range: 1 to 65535
  const auto secret = parse_secret(text.substr(colon + 1));
  if (!generation || !secret) return std::nullopt;
  return SpaKey{*generation, *secret};
}

std::vector<SpaKey> read_spa_keys(TableReader& site) {
  site.require("spa_keys");
  auto keys = site.parsed_list("spa_keys", kMaxSpaKeys, parse_spa_key,
                               "\"GENERATION:KEY\" with 32 octets in base64, as nattctl writes them");
  std::sort(keys.begin(), keys.end(), [](const SpaKey& a, const SpaKey& b) { return a.generation > b.generation; });
  if (keys.empty()) site.complain("spa_keys", "needs at least one key");
  if (keys.size() == 2 && keys[0].generation == keys[1].generation) {
    site.complain("spa_keys", "has two keys of one generation");
  }
  return keys;
}

std::uint16_t read_port(TableReader& table, std::string_view key, std::uint16_t standard, std::int64_t minimum) {
  return static_cast<std::uint16_t>(table.integer(key, minimum, 65535).value_or(standard));
}

// Addresses that may stand in a packet as its destination.
std::optional<IpAddress> parse_peer_address(std::string_view text) {
  const auto address = IpAddress::parse(text);
  return address && !address->is_unspecified() && !address->is_multicast() ? address : std::nullopt;
}

BrokerPeer read_broker(TableReader& table, const std::string& site) {
  BrokerPeer broker;
  table.require("name");
  broker.spa_mode = table.parsed("spa_mode", parse_spa_mode, kSpaModeForm);
  if (!broker.spa_mode) table.require("address");
  broker.identity = {site, Role::kBroker, table.parsed("name", parse_name, kNameForm).value_or("")};
  broker.addresses = table.parsed_list("address", kMaxAddressesPerPeer, parse_peer_address, "IP addresses");
  if (broker.addresses.empty() && (!broker.spa_mode || table.has("address"))) table.complain("address", "needs at least one IP address");
  broker.port = read_port(table, "port", broker.port, 1);
  broker.dns_port = read_port(table, "dns_port", broker.dns_port, 0);
  table.finish();
  return broker;
}

GatewayPeer read_gateway(TableReader& table, const std::string& site) {
  GatewayPeer gateway;
  table.require("name");
  gateway.identity = {site, Role::kGateway, table.parsed("name", parse_name, kNameForm).value_or("")};
  const auto addresses = table.parsed_list("address", kMaxAddressesPerPeer, parse_peer_address, "IP addresses");
  const std::uint16_t port = read_port(table, "port", 443, 1);
  for (const IpAddress& address : addresses) gateway.addresses.push_back({address, port});
  table.finish();
  return gateway;
}

template <typename Peer>
std::vector<Peer> read_peers(TableReader& site, std::string_view key, const std::string& site_name,
                             Peer (*read)(TableReader&, const std::string&)) {
  std::vector<Peer> peers;
  for (TableReader& table : site.tables(key, kMaxPeersPerSite)) {
    Peer peer = read(table, site_name);
    const auto same = [&peer](const Peer& other) { return other.identity == peer.identity; };
    if (std::any_of(peers.begin(), peers.end(), same)) table.complain("name", "is listed twice");
    peers.push_back(std::move(peer));
  }
  return peers;
}

void read_identity(TableReader& table, SiteConfig& site, Role role) {
  table.require("name");
  table.require("identity");
  site.name = table.parsed("name", parse_name, kNameForm).value_or("");
  const auto identity = table.parsed("identity", Identity::parse, "a SPIFFE URI such as \"spiffe://hq/client/alice\"");
  if (!identity) return;
  if (identity->site != site.name) table.complain("identity", "is of another site than this table's name");
  if (identity->role != role) {
    table.complain("identity", fmt::format("is of a {}, but this file is read by a {}", to_string(identity->role),
                                           to_string(role)));
  }
  site.identity = *identity;
}

void read_keys(TableReader& table, SiteConfig& site) {
  site.certificate_pem = read_pem(table, "certificate", "CERTIFICATE");
  site.ca_pem = read_pem(table, "ca", "CERTIFICATE");
  site.private_key_pem = SecretText(read_pem(table, "private_key", "PRIVATE KEY"));
  site.spa_keys = read_spa_keys(table);
  table.require("psk");
  if (const auto psk = table.parsed("psk", parse_secret, kSecretForm)) site.psk = *psk;
}

// Complains at the first of the keys that the error is about.
void check_material(TableReader& table, const SiteConfig& site) {
  const auto credentials = make_credentials(site);
  if (credentials) return;
  const bool is_roster = credentials.error().message.starts_with("roster");
  table.complain(is_roster ? "roster" : "certificate", credentials.error().message);
}

SiteConfig read_site(TableReader& table, const std::filesystem::path& file, Role role) {
  SiteConfig site;
  read_identity(table, site, role);
  site.protocol = read_protocol(table);
  read_keys(table, site);
  site.brokers = read_peers<BrokerPeer>(table, "broker", site.name, read_broker);
  site.gateways = read_peers<GatewayPeer>(table, "gateway", site.name, read_gateway);
  table.require("roster");
  site.roster =
      table.parsed("roster", base64_decode, "the signed roster in base64, as nattctl writes it").value_or(ByteBuffer{});
  site.roster_file = resolve_path(table.text("roster_file").value_or("roster"), file);
  table.finish();
  if (!table.has_failed()) check_material(table, site);
  return site;
}

}  // namespace

std::vector<SiteConfig> read_sites(TableReader& root, const std::filesystem::path& file, Role role,
                                   std::size_t maximum) {
  std::vector<SiteConfig> sites;
  if (!root.has("site")) root.complain("site", "is missing: the file needs at least one [[site]]");
  for (TableReader& table : root.tables("site", maximum)) {
    SiteConfig site = read_site(table, file, role);
    const auto same = [&site](const SiteConfig& other) { return other.name == site.name; };
    if (std::any_of(sites.begin(), sites.end(), same)) table.complain("name", "is the name of two sites");
    sites.push_back(std::move(site));
  }
  if (sites.empty()) root.complain("site", "needs at least one [[site]]");
  return sites;
}

Destination read_destination(TableReader& table, const std::vector<SiteConfig>& sites) {
  Destination destination;
  destination.site = table.text("site").value_or(sites.size() == 1 ? sites.front().name : "");
  destination.gateway = table.parsed("gateway", parse_name, kNameForm).value_or("");
  const auto named = [&destination](const SiteConfig& site) { return site.name == destination.site; };
  if (destination.site.empty()) {
    table.complain("site", "is missing: this file has several sites");
  } else if (std::none_of(sites.begin(), sites.end(), named)) {
    table.complain("site", "names no [[site]] of this file");
  }
  return destination;
}

}  // namespace natt::config
