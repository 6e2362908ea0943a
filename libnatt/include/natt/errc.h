// SPDX-License-Identifier: Apache-2.0
#pragma once

// Error codes of libnatt. Each says what the caller should do.

#include <system_error>

namespace natt {

enum class Errc {
  kMalformed = 1,   // Bytes that no version of the protocol allows. Drop; do not retry the same bytes.
  kWrongIdentity,   // A certificate that is valid but not the peer's. Do not retry: configuration or attack.
  kUntrusted,       // A signature or certificate chain does not verify. Do not retry with the same files.
  kExpired,         // Valid once, or not yet. Check the clock, then renew.
  kRevoked,         // The roster no longer lists this device. Enroll it again.
  kTimeout,         // The peer did not answer in time. Retry with back-off.
  kRefused,         // The peer said no; the message says why. Retry only after a change.
  kClosed,          // The channel is gone. Reconnect.
  kLimit,           // A bound of this library was reached. Back off.
  kUnavailable,     // Nothing can do this at the moment (no address, no route). Retry later.
  kIo,              // The operating system refused; the message names the call. Retry where the message says so.
  kCrypto,          // The TLS library failed in a way that is not the peer's doing. Report it.
};

[[nodiscard]] const std::error_category& natt_category();
[[nodiscard]] inline std::error_code make_error_code(Errc code) { return {static_cast<int>(code), natt_category()}; }

}  // namespace natt

template <>
struct std::is_error_code_enum<natt::Errc> : std::true_type {};
