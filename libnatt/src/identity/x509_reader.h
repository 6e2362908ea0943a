// SPDX-License-Identifier: Apache-2.0
#pragma once

// Single facts read out of parsed X.509 (RFC 5280), and PEM text (RFC 7468) into and out
// of objects. Internal to libnatt; every result is complete or absent.

#include <optional>
#include <string>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <natt/bytes.h>
#include <natt/certificate.h>
#include <natt/time.h>

namespace natt {

[[nodiscard]] X509Handle parse_certificate_der(ByteView der);  // null unless exactly one certificate
[[nodiscard]] X509Handle read_certificate_pem(std::string_view pem);
[[nodiscard]] bssl::UniquePtr<EVP_PKEY> read_private_key_pem(std::string_view pem);
[[nodiscard]] std::string certificate_to_pem(X509* certificate);
[[nodiscard]] std::string private_key_to_pem(EVP_PKEY* key);
[[nodiscard]] ByteBuffer certificate_to_der(X509* certificate);
[[nodiscard]] X509Handle share(X509* certificate);

// Null when the key is of a kind that the library does not know.
[[nodiscard]] bssl::UniquePtr<EVP_PKEY> public_key_of(X509* certificate);
// True for an ECDSA key on P-256.
[[nodiscard]] bool is_p256(const EVP_PKEY* key);
[[nodiscard]] bool verify_p256(EVP_PKEY* key, ByteView message, ByteView signature);
[[nodiscard]] std::optional<ByteBuffer> sign_p256(EVP_PKEY* key, ByteView message);

// The URI of the certificate's one and only SAN; nothing when there are several, none or another kind.
[[nodiscard]] std::optional<std::string> only_uri_san(X509* certificate);
[[nodiscard]] std::optional<CertificateSerial> serial_of(X509* certificate);
[[nodiscard]] std::optional<WallTime> time_of(const ASN1_TIME* time);
// "2026-11-23T07:00:00Z", for messages.
[[nodiscard]] std::string utc_text(WallTime time);

}  // namespace natt
