// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a broker hands a device over signaling so that its STUN is answered.
// Value type; holds secrets, so it has no printing.

#include <string>

#include <natt/random.h>
#include <natt/secret.h>
#include <natt/stun_transaction_id.h>
#include <natt/time.h>

namespace natt {

// Short-term credentials (RFC 8489 section 9.1): the key of MESSAGE-INTEGRITY-SHA256 is the password.
using StunPassword = Secret<32>;

// 16 octets of text: with it a request is never shorter than its answer over IPv4.
inline constexpr std::size_t kStunUsernameSize = 16;

struct StunCredential {
  std::string username;  // 1 to 64 octets; make_stun_credential writes kStunUsernameSize
  StunPassword password;
  StunTransactionKey transaction_key;  // of the broker, the same for all its credentials
};

// A fresh username (base64url text) and password.
[[nodiscard]] StunCredential make_stun_credential(const StunTransactionKey& broker_key, Random& random);

}  // namespace natt
