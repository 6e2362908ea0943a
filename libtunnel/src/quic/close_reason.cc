// SPDX-License-Identifier: Apache-2.0
#include "src/quic/close_reason.h"

#include <algorithm>
#include <string>

#include <fmt/core.h>
#include <nghttp3/nghttp3.h>
#include <openssl/ssl.h>

#include <natt/bytes.h>
#include <natt/errc.h>
#include <natt/tls_context.h>
#include <natt/tunnel/errc.h>

namespace natt::tunnel {
namespace {

// RFC 9000 section 20.1: CRYPTO_ERROR carries a TLS alert in its low octet.
constexpr std::uint64_t kCryptoErrorFirst = 0x100;
constexpr std::uint64_t kCryptoErrorLast = 0x1ff;

// Peer-supplied and meant for a log.
std::string printable(const ngtcp2_ccerr& error) {
  std::string text(as_text({error.reason, error.reasonlen}).substr(0, 200));
  std::replace_if(text.begin(), text.end(), [](char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return text.empty() ? text : ": " + text;
}

}  // namespace

Error error_of_peer(ngtcp2_conn* quic) {
  const ngtcp2_ccerr& error = *ngtcp2_conn_get_ccerr(quic);
  const std::string reason = printable(error);
  if (error.type == NGTCP2_CCERR_TYPE_APPLICATION) {
    if (error.error_code == NGHTTP3_H3_NO_ERROR) return {Errc::kClosed, "closed by the peer" + reason};
    return {Errc::kProtocol, fmt::format("the peer closed with HTTP/3 error 0x{:x}{}", error.error_code, reason)};
  }
  if (error.error_code >= kCryptoErrorFirst && error.error_code <= kCryptoErrorLast) {
    const int alert = static_cast<int>(error.error_code - kCryptoErrorFirst);
    return {Errc::kHandshake, fmt::format("the peer refused this end's certificate or TLS offer ({}){}",
                                          SSL_alert_desc_string_long(alert), reason)};
  }
  if (error.error_code == NGTCP2_NO_ERROR) return {Errc::kClosed, "closed by the peer" + reason};
  return {Errc::kProtocol, fmt::format("the peer closed with QUIC error 0x{:x}{}", error.error_code, reason)};
}

Error error_of_tls(const ssl_st* tls) {
  const Error error = handshake_error(tls);
  const bool identity = error.code == make_error_code(natt::Errc::kWrongIdentity);
  return {make_error_code(identity ? Errc::kWrongIdentity : Errc::kHandshake), error.message};
}

}  // namespace natt::tunnel
