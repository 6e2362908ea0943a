// SPDX-License-Identifier: Apache-2.0
#pragma once

// What both sides of a certificate check share: the chain to the site's CA and the one
// SAN. Internal to libnatt.

#include <optional>

#include <openssl/x509.h>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/time.h>

namespace natt {

struct DeviceCertificate {
  Identity identity;
  CertificateSerial serial;
  WallTime not_before;
  WallTime not_after;
};

// `at` absent: validity times are not looked at.
[[nodiscard]] Result<DeviceCertificate> read_device_certificate(X509* certificate, const SiteCa& ca,
                                                                std::optional<WallTime> at);
[[nodiscard]] Result<void> check_expectation(const Identity& identity, const PeerExpectation& expectation);

}  // namespace natt
