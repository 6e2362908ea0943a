// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/broker_site.h"

#include <algorithm>

#include <natt/errc.h>

namespace natt::uv {

Result<std::unique_ptr<BrokerSite>> BrokerSite::make(BrokerSiteOptions options, Random& random, LogSink log,
                                                     WallTime wall_now) {
  const Identity identity = options.credentials.identity();
  if (identity.role != Role::kBroker) {
    return fail(Errc::kWrongIdentity, "the certificate is for " + identity.uri() + ", not for a broker");
  }
  std::unique_ptr<BrokerSite> site(new BrokerSite(identity, options.credentials.site_ca(), log));
  auto tls = TlsContext::make(options.credentials, TlsDirection::kServer, "");
  if (!tls) return tl::unexpected(tls.error());
  site->tls_ = std::move(*tls);
  if (auto change = site->roster_.handle_roster(options.roster); !change) return tl::unexpected(change.error());
  if (auto made = site->make_verifier(options, random, wall_now); !made) return tl::unexpected(made.error());
  return site;
}

BrokerSite::BrokerSite(Identity identity, SiteCa ca, LogSink log)
    : identity_(std::move(identity)), log_(log), roster_(std::move(ca), RosterView::kFull, log) {}

Result<void> BrokerSite::make_verifier(BrokerSiteOptions& options, Random& random, WallTime wall_now) {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr || !self->mask_key) {
    return fail(Errc::kRevoked, "the roster of site " + identity_.site + " does not list " + identity_.uri() +
                                    ": enroll this broker again");
  }
  spa::VerifierOptions verifier{.identity = identity_,
                                .keys = std::move(options.spa_keys),
                                .psk = options.psk,
                                .mask = *self->mask_key,
                                .accept_from = wall_now};
  verifier_ = std::make_unique<spa::Verifier>(std::move(verifier), random);
  for (const RosterDevice& device : roster_.roster()->devices) put_device(device.identity);
  return {};
}

void BrokerSite::put_device(const Identity& identity) {
  const RosterDevice* device = roster_.roster()->find(identity);
  if (device == nullptr || identity == identity_) return;
  std::vector<spa::DeviceKey> keys;
  for (const SpaPublicKey& key : device->spa_keys) keys.push_back({key.generation, {key.key}});
  if (auto put = verifier_->put_device(identity, keys); !put) {
    log_(LogLevel::kWarning, "natt.broker.device_refused device=" + identity.uri() + " reason=" + put.error().message);
  }
}

Result<RosterChange> BrokerSite::update(const SignedRoster& documents) {
  auto change = roster_.handle_roster(documents);
  if (!change) return change;
  for (const Identity& identity : change->removed) verifier_->remove_device(identity);
  for (const Identity& identity : change->added) put_device(identity);
  for (const Identity& identity : change->changed) put_device(identity);
  return change;
}

std::vector<SocketAddress> BrokerSite::addresses_for(const IpAddress& peer) const {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr) return {};
  std::vector<SocketAddress> addresses = self->addresses;
  std::stable_partition(addresses.begin(), addresses.end(),
                        [&](const SocketAddress& address) { return address.ip.is_v4() == peer.is_v4(); });
  return addresses;
}

std::uint16_t BrokerSite::dns_port() const {
  const RosterDevice* self = roster_.roster()->find(identity_);
  return self == nullptr ? std::uint16_t{0} : self->dns_port;
}

}  // namespace natt::uv
