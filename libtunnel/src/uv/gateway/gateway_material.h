// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a gateway proves itself with: certificate, SPA pairs, and the TLS contexts of its
// tunnels. They are replaced in two steps while it serves: prepare() does all that may fail
// and changes nothing, exchange() cannot fail. What others borrowed stays where it is, and
// connections keep the context that they were made from. Resource type.

#include <memory>
#include <optional>
#include <vector>

#include <natt/credentials.h>
#include <natt/tls_context.h>
#include <natt/tunnel/tunnel_protocol.h>
#include <natt/uv/site_signaling.h>

namespace natt::tunnel::uv {

class GatewayMaterial {
 public:
  using Keys = std::vector<natt::uv::SpaOwnKey>;
  struct Contexts {
    std::unique_ptr<TlsContext> quic;
    std::unique_ptr<TlsContext> tls;  // null in a QUIC site
  };

  // `keys` newest first, one or two. kMalformed for others, and whatever is wrong with the certificate.
  [[nodiscard]] static Result<std::unique_ptr<GatewayMaterial>> make(const Credentials& credentials, Keys keys,
                                                                     TunnelProtocol protocol);
  GatewayMaterial(const GatewayMaterial&) = delete;
  GatewayMaterial& operator=(const GatewayMaterial&) = delete;

  struct Prepared {
    Credentials credentials;
    Keys keys;  // one or two
    Contexts contexts;                      // of tunnels, the one of QUIC configured for Server::set_tls()
    std::unique_ptr<TlsContext> signaling;  // for SiteSignaling::handle_new_material()
  };
  // kWrongIdentity for a certificate of another device, and the errors of make().
  [[nodiscard]] Result<Prepared> prepare(const Credentials& credentials, Keys keys) const;
  // `prepared.signaling` is not touched.
  void exchange(Prepared& prepared);

  [[nodiscard]] const Credentials& credentials() const { return credentials_; }
  [[nodiscard]] const natt::uv::SpaOwnKey& newest() const { return newest_; }
  // A copy; nothing with one pair.
  [[nodiscard]] std::optional<natt::uv::SpaOwnKey> older() const;
  // Copies, newest first.
  [[nodiscard]] std::vector<spa::KeyPair> pairs() const;
  [[nodiscard]] static std::vector<spa::KeyPair> copy_pairs(const Keys& keys);
  // Others after exchange(); the former stay valid.
  [[nodiscard]] TlsContext& quic_context() { return *contexts_.back().quic; }
  // Of a TLS site.
  [[nodiscard]] const TlsContext& tls_context() const { return *contexts_.back().tls; }

 private:
  GatewayMaterial(const Credentials& credentials, Contexts contexts, Keys keys, TunnelProtocol protocol);

  TunnelProtocol protocol_;
  Credentials credentials_;
  natt::uv::SpaOwnKey newest_;  // borrowed by others
  std::optional<natt::uv::SpaOwnKey> older_;
  std::vector<Contexts> contexts_;  // the last are in force
};

}  // namespace natt::tunnel::uv
