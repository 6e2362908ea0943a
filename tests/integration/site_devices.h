// SPDX-License-Identifier: Apache-2.0
#pragma once

// The devices of a test's site with their certificates, SPA keys and signed roster, and a port
// for its broker that the roster can name before anybody has bound it.

#include <map>
#include <memory>
#include <optional>

#include <natt/authority.h>
#include <natt/spa/knocker.h>
#include <natt/uv/site_signaling.h>

#include "integration/uv_loop.h"

namespace natt::test {

class SiteDevices {
 public:
  explicit SiteDevices(Random& random);

  void add(const Identity& identity);
  // Not in rosters from now on.
  void remove(const Identity& identity) { devices_.erase(identity); }
  // A second SPA pair of generation 0, before the one that all devices have.
  void add_older_key(const Identity& identity);
  void renew_certificate(const Identity& identity);
  [[nodiscard]] Credentials credentials(const Identity& identity) const;
  // Newest first.
  [[nodiscard]] std::vector<uv::SpaOwnKey> spa_keys(const Identity& identity) const;
  [[nodiscard]] spa::KeyPair spa_key(const Identity& identity) const;
  // The next one; brokers are at `broker`.
  [[nodiscard]] SignedRoster make_roster(const SocketAddress& broker);
  // Of `device`, for the port of `verifier`.
  [[nodiscard]] std::unique_ptr<spa::Knocker> make_knocker(const Identity& device, const Identity& verifier,
                                                           std::uint16_t port = 443) const;
  [[nodiscard]] const spa::SitePsk& psk() const { return psk_; }

 private:
  struct Device {
    IssuedCertificate certificate;
    spa::KeyPair key;
    std::optional<spa::KeyPair> older;
    std::optional<Secret<16>> mask;  // of whoever has a port
  };
  Random& random_;
  std::unique_ptr<Authority> authority_;
  std::map<Identity, Device> devices_;
  spa::SitePsk psk_;
  std::uint64_t roster_number_ = 0;
};

}  // namespace natt::test
