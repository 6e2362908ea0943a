// SPDX-License-Identifier: Apache-2.0
#pragma once

// Transaction ids that prove themselves: 4 random octets, then the 8 octets of
// SipHash-2-4 over them under a key from signaling (little-endian, as libsodium
// writes them). One hash tells a stranger's STUN from ours, in a kernel filter as
// well as here. It authenticates nothing else: whoever holds the key can make any
// number of ids, so MESSAGE-INTEGRITY-SHA256 still decides. docs/WIRE.md section 4.
//
// Pure functions, usable from any thread.

#include <natt/random.h>
#include <natt/secret.h>
#include <natt/stun_message.h>

namespace natt {

// A broker's, or a gateway's, for all STUN that is sent to it and all answers it gives.
using StunTransactionKey = Secret<16>;

[[nodiscard]] StunTransactionId make_transaction_id(const StunTransactionKey& key, std::uint32_t nonce);
[[nodiscard]] StunTransactionId make_transaction_id(const StunTransactionKey& key, Random& random);
// 96 random bits (RFC 8489 section 5), for servers that do not know our keys.
[[nodiscard]] StunTransactionId make_plain_transaction_id(Random& random);

[[nodiscard]] std::uint32_t transaction_nonce(const StunTransactionId& id);
[[nodiscard]] bool has_valid_tag(const StunTransactionKey& key, const StunTransactionId& id);

}  // namespace natt
