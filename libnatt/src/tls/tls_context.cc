// SPDX-License-Identifier: Apache-2.0
#include <natt/tls_context.h>

#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>

#include <natt/credentials.h>
#include <natt/errc.h>

#include "src/tls/peer_verification.h"

namespace natt {
namespace {

// RFC 8446 section 9.1 makes AES-128-GCM mandatory; the library puts ChaCha20 first where there is no AES in
// hardware. The post-quantum hybrid (X25519Kyber768Draft00 goes by this name here) is preferred, and the key shares of
// the hello are for the first two of this list.
constexpr char kGroups[] = "X25519KYBER:X25519:P-256";
constexpr char kClassicGroups[] = "X25519:P-256";
constexpr std::uint16_t kSignatures[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256};

bool set_groups(SSL_CTX* context) {
  const bool hybrid = SSL_CTX_set1_curves_list(context, kGroups) == 1;
  ERR_clear_error();
  return hybrid || SSL_CTX_set1_curves_list(context, kClassicGroups) == 1;
}

bool set_protocol(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_early_data_enabled(context, 0);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 && set_groups(context) &&
         SSL_CTX_set_signing_algorithm_prefs(context, kSignatures, std::size(kSignatures)) == 1 &&
         SSL_CTX_set_verify_algorithm_prefs(context, kSignatures, std::size(kSignatures)) == 1;
}

bool set_credentials(SSL_CTX* context, const Credentials& credentials) {
  return SSL_CTX_use_certificate(context, credentials.native_certificate()) == 1 &&
         SSL_CTX_use_PrivateKey(context, credentials.native_key()) == 1;
}

// The client's offer: one protocol, its length in front (RFC 7301 section 3.1).
bool offer_alpn(SSL_CTX* context, const std::string& alpn) {
  ByteBuffer list{static_cast<std::uint8_t>(alpn.size())};
  list.insert(list.end(), alpn.begin(), alpn.end());
  return SSL_CTX_set_alpn_protos(context, list.data(), list.size()) == 0;
}

// RFC 7301 section 3.2: no protocol in common ends the handshake.
int select_alpn(SSL*, const std::uint8_t** out, std::uint8_t* out_size, const std::uint8_t* in, unsigned in_size,
                void* argument) noexcept {
  const auto& wanted = *static_cast<const std::string*>(argument);
  ByteReader reader(ByteView(in, in_size));
  while (const auto size = reader.read<std::uint8_t>()) {
    const auto name = reader.read_bytes(*size);
    if (!name) break;
    if (as_text(*name) != wanted) continue;
    *out = name->data();
    *out_size = *size;
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

struct TlsContext::Impl {
  Credentials credentials;
  std::string alpn;
  bssl::UniquePtr<SSL_CTX> context;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;
SSL_CTX* TlsContext::native() const { return impl_->context.get(); }

Result<std::unique_ptr<TlsContext>> TlsContext::make(const Credentials& credentials, TlsDirection direction,
                                                     std::string alpn) {
  if (alpn.size() > 255) return fail(Errc::kLimit, "an ALPN name has at most 255 octets");
  auto impl = std::unique_ptr<Impl>(
      new Impl{credentials, std::move(alpn), bssl::UniquePtr<SSL_CTX>(SSL_CTX_new(TLS_method()))});
  SSL_CTX* context = impl->context.get();
  bool good = context != nullptr && set_protocol(context) && set_credentials(context, impl->credentials);
  if (good && !impl->alpn.empty()) {
    if (direction == TlsDirection::kServer) SSL_CTX_set_alpn_select_cb(context, select_alpn, &impl->alpn);
    good = direction == TlsDirection::kServer || offer_alpn(context, impl->alpn);
  }
  if (!good) {
    ERR_clear_error();
    return fail(Errc::kCrypto, "the TLS library could not set up a context for " + credentials.identity().uri());
  }
  verify_peers_against(context, impl->credentials.site_ca());
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

}  // namespace natt
