// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a device proves its identity with: its certificate, the private key to it,
// and the CA certificate of the one site it belongs to. `nattctl` writes the three
// as PEM into the device's configuration.
//
// Value type: copying shares the key inside the TLS library. The private key has no
// accessor and is never printed. Not thread-safe.

#include <memory>
#include <string_view>

#include <natt/bytes.h>
#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/time.h>

struct evp_pkey_st;

namespace natt {

class Credentials {
 public:
  // Checks that the three fit together: the key is the certificate's, the CA issued the
  // certificate, and the certificate names one device of the CA's site. Does not look at
  // the clock: an expired device has to start in order to say so (see not_after()).
  [[nodiscard]] static Result<Credentials> from_pem(std::string_view certificate, std::string_view key,
                                                    std::string_view ca);

  Credentials(const Credentials& other);
  Credentials& operator=(const Credentials& other);
  Credentials(Credentials&& other) noexcept;
  Credentials& operator=(Credentials&& other) noexcept;
  ~Credentials();

  [[nodiscard]] const Identity& identity() const;
  [[nodiscard]] const CertificateSerial& serial() const;
  [[nodiscard]] WallTime not_before() const;
  [[nodiscard]] WallTime not_after() const;
  [[nodiscard]] const SiteCa& site_ca() const;
  // The own certificate. Valid as long as this object.
  [[nodiscard]] ByteView certificate_der() const;

  // ECDSA P-256 with SHA-256 over `message`, DER. The caller puts a context string in
  // front of what it signs, so that a signature made for one purpose means nothing in another.
  [[nodiscard]] Result<ByteBuffer> sign(ByteView message) const;

  // For TlsContext. Valid as long as this object.
  [[nodiscard]] x509_st* native_certificate() const;
  [[nodiscard]] evp_pkey_st* native_key() const;

 private:
  struct Impl;
  explicit Credentials(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
