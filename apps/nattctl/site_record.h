// SPDX-License-Identifier: Apache-2.0
#pragma once

// What nattctl has to remember about a site beside its CA and roster: `DIR/site` (TOML,
// holds the PSK) and `DIR/certificates`, one line per certificate it ever issued, so
// that revoking a device can name them. Value types.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/secret.h>
#include <natt/time.h>

#include "apps/config/program_config.h"

namespace natt::ctl {

struct SiteRecord {
  std::string name;
  tunnel::TunnelProtocol protocol = tunnel::TunnelProtocol::kQuic;
  config::SpaMode spa_mode = config::SpaMode::kUdpTcp;
  std::map<std::string, config::SpaMode> broker_modes;  // of brokers that differ, by name
  Secret<32> psk;
  std::string first_broker;        // its file is broker.toml, others' broker-NAME.toml
  std::vector<std::string> allow;  // rules that new gateways start with, for every client

  [[nodiscard]] config::SpaMode mode_of(const std::string& broker) const;
  [[nodiscard]] std::string serialize() const;
  // `file` is named in errors.
  [[nodiscard]] static Result<SiteRecord> parse(std::string_view text, const std::filesystem::path& file);
};

struct IssuedRecord {
  Identity identity;
  CertificateSerial serial;
  WallTime not_after;
};

// "URI SERIAL UNIX-SECONDS" per line.
[[nodiscard]] std::string serialize_ledger(const std::vector<IssuedRecord>& ledger);
[[nodiscard]] Result<std::vector<IssuedRecord>> parse_ledger(std::string_view text, const std::filesystem::path& file);

}  // namespace natt::ctl
