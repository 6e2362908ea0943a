// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CA of a site: makes device certificates and signs rosters. Lives in `nattctl`
// only; no running program holds its key. A site's whole trust is this one key pair,
// which nattctl keeps in `DIR/ca.key`.
//
// Resource type, used by one thread.
//
//   auto authority = Authority::create("hq", wall_now, random);
//   auto alice = authority->issue({"hq", Role::kClient, "alice"}, wall_now, kCertificateLifetime);
//   write_0600("DIR/ca.key", authority->to_pem());

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/random.h>
#include <natt/roster.h>
#include <natt/time.h>

namespace natt {

// Ten years for the CA, as a site outlives the devices in it; one year for a device,
// renewed while it runs (`nattctl renew`). Revocation does not wait for either: the
// roster does that within a second.
inline constexpr std::chrono::hours kCaLifetime{24 * 3650};
inline constexpr std::chrono::hours kCertificateLifetime{24 * 365};
// A certificate is valid from a little before it was made, so that a device whose
// clock is behind can use it at once.
inline constexpr std::chrono::minutes kCertificateBackdating{10};

struct IssuedCertificate {
  Identity identity;
  CertificateSerial serial;
  WallTime not_after;
  std::string certificate_pem;
  std::string key_pem;  // PKCS#8, not encrypted: goes into a 0600 file and nowhere else
};

class Authority {
 public:
  // `random` makes keys and serial numbers and has to outlive the authority.
  [[nodiscard]] static Result<std::unique_ptr<Authority>> create(std::string site, WallTime wall_now, Random& random);
  // Reads what to_pem() wrote.
  [[nodiscard]] static Result<std::unique_ptr<Authority>> from_pem(std::string_view pem, Random& random);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  // Certificate and private key in one text. Holds the key: for `DIR/ca.key` (0600) only.
  [[nodiscard]] std::string to_pem() const;
  // The certificate alone: every device gets it.
  [[nodiscard]] std::string certificate_pem() const;
  [[nodiscard]] const SiteCa& certificate() const;
  [[nodiscard]] const std::string& site() const;

  // A new key pair and a certificate for it. The identity has to be of this site.
  // Never outlives the CA's own certificate.
  [[nodiscard]] Result<IssuedCertificate> issue(const Identity& identity, WallTime wall_now,
                                                std::chrono::milliseconds lifetime);
  // Both views, signed. The roster has to be of this site; its devices are put in order.
  [[nodiscard]] Result<SignedRoster> sign_roster(const Roster& roster) const;

 private:
  struct Impl;
  explicit Authority(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
