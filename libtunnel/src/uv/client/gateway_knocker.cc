// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/gateway_knocker.h"

#include <algorithm>

#include <natt/errc.h>
#include <natt/key_choice.h>

namespace natt::tunnel::uv {

Result<std::unique_ptr<spa::Knocker>> make_gateway_knocker(const LinkSite& site, const Identity& gateway,
                                                           std::size_t races_lost) {
  const RosterDevice* device = site.signaling.roster().find(gateway);
  if (device == nullptr || device->spa_keys.empty() || !device->mask_key) {
    return natt::fail(natt::Errc::kUnavailable, "the roster of site " + gateway.site + " lists no " + gateway.uri());
  }
  const Identity& self = site.options.credentials.identity();
  const auto& older = site.options.older_spa_key;
  // A gateway holds two pairs.
  const KeyChoice choice =
      choose_keys(races_lost, older ? 2 : 1, std::min<std::size_t>(device->spa_keys.size(), 2));
  const natt::uv::SpaOwnKey& own = choice.own == 0 ? site.options.spa_key : *older;
  const SpaPublicKey& listed = *(device->spa_keys.rbegin() + static_cast<std::ptrdiff_t>(choice.theirs));
  const auto pair = spa::PairKey::derive(own.pair, {listed.key},
                                         spa::DeviceId::of(self), spa::DeviceId::of(gateway), site.options.psk);
  if (!pair) return natt::fail(natt::Errc::kMalformed, "the SPA key of " + gateway.uri() + " is not a valid point");
  return std::make_unique<spa::Knocker>(
      spa::KnockerOptions{.device = self, .verifier = gateway, .mask = *device->mask_key,
                          .key_generation = own.generation},
      *pair, site.random);
}

}  // namespace natt::tunnel::uv
