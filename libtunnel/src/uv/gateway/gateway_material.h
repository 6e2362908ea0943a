// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a gateway proves itself with: certificate, SPA pairs, and the TLS context of its
// tunnels. exchange() replaces them while it serves; what others borrowed stays where it
// is, and connections keep the context that they were made from. Resource type.

#include <memory>
#include <optional>
#include <vector>

#include <natt/credentials.h>
#include <natt/tls_context.h>
#include <natt/uv/site_signaling.h>

namespace natt::tunnel::uv {

class GatewayMaterial {
 public:
  using Keys = std::vector<natt::uv::SpaOwnKey>;

  // `keys` newest first, one or two. kMalformed for others, and whatever is wrong with the certificate.
  [[nodiscard]] static Result<std::unique_ptr<GatewayMaterial>> make(const Credentials& credentials, Keys keys);
  GatewayMaterial(const GatewayMaterial&) = delete;
  GatewayMaterial& operator=(const GatewayMaterial&) = delete;

  // kWrongIdentity for a certificate of another device. Errors leave everything as it was.
  [[nodiscard]] Result<void> exchange(const Credentials& credentials, Keys keys);

  [[nodiscard]] const Credentials& credentials() const { return credentials_; }
  [[nodiscard]] const natt::uv::SpaOwnKey& newest() const { return newest_; }
  // Null with one pair.
  [[nodiscard]] const natt::uv::SpaOwnKey* older() const { return older_ ? &*older_ : nullptr; }
  // Copies, newest first.
  [[nodiscard]] std::vector<spa::KeyPair> pairs() const;
  // Another one after exchange(); the former stays valid.
  [[nodiscard]] TlsContext& tls() { return *tls_.back(); }

 private:
  GatewayMaterial(const Credentials& credentials, std::unique_ptr<TlsContext> tls, Keys keys);

  Credentials credentials_;
  natt::uv::SpaOwnKey newest_;
  std::optional<natt::uv::SpaOwnKey> older_;
  std::vector<std::unique_ptr<TlsContext>> tls_;  // the last is in force
};

}  // namespace natt::tunnel::uv
