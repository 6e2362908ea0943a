// SPDX-License-Identifier: Apache-2.0
#pragma once

// Builds and signs the two kinds of certificates of a site. Internal to libnatt (and to
// the tests' PKI, which also needs certificates that must be refused).

#include <string>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <natt/certificate.h>
#include <natt/random.h>
#include <natt/time.h>

namespace natt {

struct CertificateRequest {
  std::string common_name;
  // In the syntax of x509v3_config(5): "URI:spiffe://hq/client/alice".
  std::string subject_alt_name;
  WallTime not_before;
  WallTime not_after;
  bool is_ca = false;
};

// A P-256 key made from `random`. Null when the library fails.
[[nodiscard]] bssl::UniquePtr<EVP_PKEY> make_p256_key(Random& random);
// `issuer` null: self-signed. Null when a value is out of the range of X.509.
[[nodiscard]] X509Handle build_certificate(const CertificateRequest& request, EVP_PKEY* key, X509* issuer,
                                           EVP_PKEY* issuer_key, Random& random);

}  // namespace natt
