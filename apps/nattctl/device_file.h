// SPDX-License-Identifier: Apache-2.0
#pragma once

// The configuration file of one device as nattctl writes it: complete for its program
// (identity, keys, certificate, CA, roster), with every other setting at its default so
// that an operator's tables can be added anywhere behind the first lines. Value types.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>

#include "apps/config/site_config.h"
#include "apps/nattctl/site_record.h"

namespace natt::ctl {

// What `renew` replaces in a file and leaves the rest of it alone.
struct DeviceSecrets {
  std::string certificate_pem;
  std::string private_key_pem;
  std::vector<config::SpaKey> spa_keys;  // newest first
  ByteBuffer roster;                     // serialized SignedRoster with the views this device may see
};

struct DeviceFile {
  Identity identity;
  DeviceSecrets secrets;
  std::string ca_pem;
  // Written into [listen] when they are not the standard ones (brokers and gateways).
  std::uint16_t port = 443;
  std::uint16_t dns_port = 53;
};

[[nodiscard]] std::string render_device_file(const DeviceFile& device, const SiteRecord& site);

// `text` with the certificate, private key, SPA keys and roster of `site` exchanged and
// everything else, comments included, as it was. Errors name `file` and the key.
[[nodiscard]] Result<std::string> renew_device_file(std::string_view text, const std::filesystem::path& file,
                                                    std::string_view site, const DeviceSecrets& secrets);

}  // namespace natt::ctl
