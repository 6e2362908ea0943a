// SPDX-License-Identifier: Apache-2.0
#include "src/tls/peer_verification.h"

#include <memory>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ex_data.h>
#include <openssl/pool.h>

#include <natt/errc.h>

namespace natt {
namespace {

struct Verification {
  PeerExpectation expectation;
  WallTime wall_now;
  std::optional<PeerCertificate> peer;
  std::optional<Error> failure;
};

void release_verification(void*, void* pointer, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Verification*>(pointer);
}

// The library hands out slot numbers once per process; they are the same for every context.
int verification_slot() {
  static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, release_verification);
  return slot;
}
int ca_slot() {
  static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return slot;
}

Verification* verification_of(const SSL* ssl) {
  return static_cast<Verification*>(SSL_get_ex_data(ssl, verification_slot()));
}

// What the peer is told. The log on this side says more.
std::uint8_t alert_for(const Error& error) {
  if (error.code == Errc::kUntrusted) return SSL_AD_UNKNOWN_CA;
  if (error.code == Errc::kExpired) return SSL_AD_CERTIFICATE_EXPIRED;
  if (error.code == Errc::kWrongIdentity) return SSL_AD_ACCESS_DENIED;
  return SSL_AD_BAD_CERTIFICATE;
}

Result<PeerCertificate> verify_leaf(const SSL* ssl, const Verification& verification) {
  const auto* ca = static_cast<const SiteCa*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ca_slot()));
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) != 1) {
    return fail(Errc::kMalformed, "the peer did not present exactly one certificate");
  }
  const CRYPTO_BUFFER* leaf = sk_CRYPTO_BUFFER_value(chain, 0);
  return PeerCertificate::verify({CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf)}, *ca, verification.expectation,
                                 verification.wall_now);
}

ssl_verify_result_t verify_peer(SSL* ssl, std::uint8_t* alert) noexcept {
  Verification* verification = verification_of(ssl);
  if (verification == nullptr) return ssl_verify_invalid;
  auto peer = verify_leaf(ssl, *verification);
  if (peer) {
    verification->peer = std::move(*peer);
    return ssl_verify_ok;
  }
  *alert = alert_for(peer.error());
  verification->failure = std::move(peer.error());
  return ssl_verify_invalid;
}

// What the peer said with its alert (RFC 8446 section 6.2).
std::optional<Error> peer_complaint(int reason) {
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return Error{Errc::kUntrusted, "the peer trusts another CA than the one of this certificate"};
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return Error{Errc::kExpired, "the peer finds this certificate expired or not yet valid: check both clocks"};
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return Error{Errc::kWrongIdentity, "the peer expects another identity than this device's"};
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      return Error{Errc::kMalformed, "the peer does not accept this device's certificate"};
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
      return Error{Errc::kRevoked, "the peer says that this device is revoked"};
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return Error{Errc::kRefused, "the peer speaks no application protocol (ALPN) that this side offers"};
    default: return std::nullopt;
  }
}

std::string library_text(std::uint32_t code) {
  const char* text = ERR_reason_error_string(code);
  return fmt::format("the TLS handshake failed: {}", text == nullptr ? "no reason given" : text);
}

}  // namespace

void verify_peers_against(SSL_CTX* context, const SiteCa& ca) {
  // The library only stores the pointer; it is read back as const.
  SSL_CTX_set_ex_data(context, ca_slot(), const_cast<SiteCa*>(&ca));
  SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_peer);
}

const PeerCertificate* verified_peer(const SSL* ssl) {
  const Verification* verification = verification_of(ssl);
  return verification != nullptr && verification->peer ? &*verification->peer : nullptr;
}

void expect_peer(SSL* ssl, const PeerExpectation& expectation, WallTime wall_now) {
  auto verification = std::make_unique<Verification>();
  verification->expectation = expectation;
  verification->wall_now = wall_now;
  const std::unique_ptr<Verification> previous(verification_of(ssl));
  // On failure nothing is attached, and the handshake refuses every peer.
  if (SSL_set_ex_data(ssl, verification_slot(), verification.get()) == 1) verification.release();
}

std::optional<CertificateSerial> peer_serial(const SSL* ssl) {
  const PeerCertificate* peer = verified_peer(ssl);
  return peer == nullptr ? std::nullopt : std::optional(peer->serial());
}

Result<Identity> peer_identity(const SSL* ssl) {
  const PeerCertificate* peer = verified_peer(ssl);
  if (peer == nullptr) return fail(Errc::kUntrusted, "the peer was not verified");
  return peer->identity();
}

Error handshake_error(const SSL* ssl) {
  const std::uint32_t code = ERR_peek_last_error();
  ERR_clear_error();
  const Verification* verification = verification_of(ssl);
  if (verification == nullptr) return {Errc::kCrypto, "no expectation was attached to this TLS connection"};
  if (verification->failure) return *verification->failure;
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (auto complaint = peer_complaint(ERR_GET_REASON(code))) return std::move(*complaint);
  }
  return {Errc::kMalformed, library_text(code)};
}

}  // namespace natt
