// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_material.h"

#include <utility>

#include <natt/errc.h>
#include <natt/spa/verifier.h>
#include <natt/tunnel/server.h>

namespace natt::tunnel::uv {
namespace {

using natt::uv::SpaOwnKey;

Result<GatewayMaterial::Contexts> make_contexts(const Credentials& credentials, const GatewayMaterial::Keys& keys,
                                                TunnelProtocol protocol) {
  if (keys.empty() || keys.size() > spa::Verifier::kMaxOwnKeys) {
    return fail(natt::Errc::kMalformed, "the gateway has to have one or two SPA keys");
  }
  GatewayMaterial::Contexts contexts;
  auto quic = TlsContext::make(credentials, TlsDirection::kServer, "h3");
  if (!quic) return tl::unexpected(quic.error());
  contexts.quic = std::move(*quic);
  if (protocol == TunnelProtocol::kQuic) return contexts;
  auto tls = TlsContext::make(credentials, TlsDirection::kServer, "h2");
  if (!tls) return tl::unexpected(tls.error());
  contexts.tls = std::move(*tls);
  return contexts;
}

std::optional<SpaOwnKey> older_of(GatewayMaterial::Keys& keys) {
  return keys.size() > 1 ? std::optional(std::move(keys[1])) : std::nullopt;
}

}  // namespace

Result<std::unique_ptr<GatewayMaterial>> GatewayMaterial::make(const Credentials& credentials, Keys keys,
                                                               TunnelProtocol protocol) {
  auto contexts = make_contexts(credentials, keys, protocol);
  if (!contexts) return tl::unexpected(contexts.error());
  return std::unique_ptr<GatewayMaterial>(
      new GatewayMaterial(credentials, std::move(*contexts), std::move(keys), protocol));
}

GatewayMaterial::GatewayMaterial(const Credentials& credentials, Contexts contexts, Keys keys, TunnelProtocol protocol)
    : protocol_(protocol), credentials_(credentials), newest_(std::move(keys.front())), older_(older_of(keys)) {
  contexts_.push_back(std::move(contexts));
}

Result<GatewayMaterial::Prepared> GatewayMaterial::prepare(const Credentials& credentials, Keys keys) const {
  if (credentials.identity() != credentials_.identity()) {
    return fail(natt::Errc::kWrongIdentity, "the certificate is for " + credentials.identity().uri() + " now");
  }
  auto contexts = make_contexts(credentials, keys, protocol_);
  if (!contexts) return tl::unexpected(contexts.error());
  if (auto configured = Server::prepare_tls(*contexts->quic); !configured) return tl::unexpected(configured.error());
  auto signaling = TlsContext::make(credentials, TlsDirection::kClient, "");
  if (!signaling) return tl::unexpected(signaling.error());
  return Prepared{credentials, std::move(keys), std::move(*contexts), std::move(*signaling)};
}

void GatewayMaterial::exchange(Prepared& prepared) {
  contexts_.push_back(std::move(prepared.contexts));
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
