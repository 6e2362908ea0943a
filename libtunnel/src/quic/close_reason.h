// SPDX-License-Identifier: Apache-2.0
#pragma once

// Why a connection ended, as one Error for the operator: what the peer's close said, or what
// TLS complained about. Pure functions.

#include <ngtcp2/ngtcp2.h>

#include <natt/error.h>

struct ssl_st;

namespace natt::tunnel {

// After NGTCP2_ERR_DRAINING.
[[nodiscard]] Error error_of_peer(ngtcp2_conn* quic);
// After NGTCP2_ERR_CRYPTO.
[[nodiscard]] Error error_of_tls(const ssl_st* tls);

}  // namespace natt::tunnel
