// SPDX-License-Identifier: Apache-2.0
#pragma once

// Error codes of libtunnel. Each says what the caller should do.

#include <system_error>

namespace natt::tunnel {

enum class Errc {
  kProtocol = 1,    // The peer broke QUIC, HTTP/3 or MASQUE rules. The connection is gone; reconnect.
  kHandshake,       // TLS or QUIC handshake failed; the message says on which side. Do not retry unchanged.
  kWrongIdentity,   // The peer's certificate is valid but not the expected one. Do not retry: configuration or attack.
  kTimeout,         // The peer went silent. Reconnect.
  kRefused,         // The peer answered with a status other than 2xx. Retry only after a change.
  kReset,           // The peer reset this stream; bytes may be missing. The connection lives on.
  kClosed,          // Closed by either side. Reconnect when needed.
  kLimit,           // A bound of this library or of the peer was reached. Try again when streams have ended.
  kInvalid,         // The argument cannot be sent (malformed authority, unknown stream). Fix the caller.
  kIo,              // The operating system refused, or the TCP connection broke; the message says what. Reconnect.
};

[[nodiscard]] const std::error_category& tunnel_category();
[[nodiscard]] inline std::error_code make_error_code(Errc code) { return {static_cast<int>(code), tunnel_category()}; }

}  // namespace natt::tunnel

template <>
struct std::is_error_code_enum<natt::tunnel::Errc> : std::true_type {};
