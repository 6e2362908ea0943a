// SPDX-License-Identifier: Apache-2.0
#pragma once

// The certificate check inside a TLS handshake. Internal to libnatt.

#include <optional>

#include <openssl/ssl.h>

#include <natt/certificate.h>

namespace natt {

// Every SSL made from `context` requires a certificate and verifies it against `ca` (which has to live as
// long as the context) and what expect_peer() attached. Without an expectation nothing is accepted.
void verify_peers_against(SSL_CTX* context, const SiteCa& ca);
// What the handshake's check accepted; null before.
[[nodiscard]] const PeerCertificate* verified_peer(const SSL* ssl);

}  // namespace natt
