// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_material.h"

#include <utility>

#include <natt/errc.h>
#include <natt/spa/verifier.h>
#include <natt/tunnel/server.h>

namespace natt::tunnel::uv {
namespace {

using natt::uv::SpaOwnKey;

Result<std::unique_ptr<TlsContext>> make_tls(const Credentials& credentials, const GatewayMaterial::Keys& keys) {
  if (keys.empty() || keys.size() > spa::Verifier::kMaxOwnKeys) {
    return fail(natt::Errc::kMalformed, "the gateway has to have one or two SPA keys");
  }
  return TlsContext::make(credentials, TlsDirection::kServer, "h3");
}

std::optional<SpaOwnKey> older_of(GatewayMaterial::Keys& keys) {
  return keys.size() > 1 ? std::optional(std::move(keys[1])) : std::nullopt;
}

}  // namespace

Result<std::unique_ptr<GatewayMaterial>> GatewayMaterial::make(const Credentials& credentials, Keys keys) {
  auto tls = make_tls(credentials, keys);
  if (!tls) return tl::unexpected(tls.error());
  return std::unique_ptr<GatewayMaterial>(new GatewayMaterial(credentials, std::move(*tls), std::move(keys)));
}

GatewayMaterial::GatewayMaterial(const Credentials& credentials, std::unique_ptr<TlsContext> tls, Keys keys)
    : credentials_(credentials), newest_(std::move(keys.front())), older_(older_of(keys)) {
  tls_.push_back(std::move(tls));
}

Result<GatewayMaterial::Prepared> GatewayMaterial::prepare(const Credentials& credentials, Keys keys) const {
  if (credentials.identity() != credentials_.identity()) {
    return fail(natt::Errc::kWrongIdentity, "the certificate is for " + credentials.identity().uri() + " now");
  }
  auto tls = make_tls(credentials, keys);
  if (!tls) return tl::unexpected(tls.error());
  if (auto configured = Server::prepare_tls(**tls); !configured) return tl::unexpected(configured.error());
  auto signaling = TlsContext::make(credentials, TlsDirection::kClient, "");
  if (!signaling) return tl::unexpected(signaling.error());
  return Prepared{credentials, std::move(keys), std::move(*tls), std::move(*signaling)};
}

void GatewayMaterial::exchange(Prepared& prepared) {
  tls_.push_back(std::move(prepared.tls));
  credentials_ = std::move(prepared.credentials);
  newest_ = std::move(prepared.keys.front());
  older_ = older_of(prepared.keys);
}

std::optional<SpaOwnKey> GatewayMaterial::older() const {
  return older_ ? std::optional(older_->copy()) : std::nullopt;
}

std::vector<spa::KeyPair> GatewayMaterial::pairs() const {
  std::vector<spa::KeyPair> pairs;
  pairs.push_back(spa::KeyPair::from_secret(newest_.pair.secret()));
  if (older_) pairs.push_back(spa::KeyPair::from_secret(older_->pair.secret()));
  return pairs;
}

std::vector<spa::KeyPair> GatewayMaterial::copy_pairs(const Keys& keys) {
  std::vector<spa::KeyPair> pairs;
  for (const SpaOwnKey& key : keys) pairs.push_back(spa::KeyPair::from_secret(key.pair.secret()));
  return pairs;
}

}  // namespace natt::tunnel::uv
