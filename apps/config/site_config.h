// SPDX-License-Identifier: Apache-2.0
#pragma once

// One `[[site]]` of a configuration file: who this program is in that site, its
// keys, whom it may meet there, and the site's roster. A broker serves several
// sites and a client may belong to several, each with credentials and a roster of
// its own: nothing is shared between two of these. Value types.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/identity.h>
#include <natt/secret.h>
#include <natt/spa_mode.h>
#include <natt/tunnel/tunnel_protocol.h>

#include "apps/config/secret_text.h"

namespace natt::config {

inline constexpr std::size_t kMaxSites = 256;
inline constexpr std::size_t kMaxPeersPerSite = 256;  // brokers, and again gateways, listed in the file
inline constexpr std::size_t kMaxAddressesPerPeer = 8;
inline constexpr std::size_t kMaxSpaKeys = 2;  // SPA.md 1.1: the new pair and the one it replaces

using tunnel::TunnelProtocol;

// One X25519 pair of this device. The public half stands in the roster.
struct SpaKey {
  std::uint16_t generation = 1;
  Secret<32> secret;
};

struct BrokerPeer {
  Identity identity;
  std::vector<IpAddress> addresses;  // in the order to try; none: the roster's, only `spa_mode` is of interest
  std::uint16_t port = 443;          // UDP and TCP
  std::uint16_t dns_port = 53;       // UDP
  // This broker's `[spa] mode` where it differs from the file's, for diagnosis.
  std::optional<SpaMode> spa_mode = {};
};

struct GatewayPeer {
  Identity identity;
  // Where it may be reached without a broker; empty when it is only known behind a NAT.
  std::vector<SocketAddress> addresses;
};

struct SiteConfig {
  std::string name;
  Identity identity;  // of this program; its site is `name`
  TunnelProtocol protocol = TunnelProtocol::kQuic;

  std::string certificate_pem;   // own certificate first, then intermediates
  std::string ca_pem;            // the site's CA: the only trust anchor of this site
  SecretText private_key_pem;    // PKCS #8, ECDSA P-256
  std::vector<SpaKey> spa_keys;  // newest first, at least one
  Secret<32> psk;                // the site PSK of SPA.md 1.1

  // `[[site.broker]]`, `[[site.gateway]]`: other addresses than the roster's (a forwarded port,
  // a split horizon). Mostly empty; brokers_of() and gateways_of() of site_material.h put both together.
  std::vector<BrokerPeer> brokers;
  std::vector<GatewayPeer> gateways;

  // The signed roster as it was when the file was written.
  ByteBuffer roster;
  // A newer one may be put here while the program runs; need not exist. Absolute.
  std::filesystem::path roster_file;
};

}  // namespace natt::config
