// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/relay_issuer.h"

#include <natt/errc.h>

namespace natt::uv {
namespace {

RefusalReason refusal_of(const Error& error) {
  return error.code == make_error_code(Errc::kLimit) ? RefusalReason::kQuota : RefusalReason::kInvalid;
}

}  // namespace

std::vector<SocketAddress> broker_addresses_for(const Identity& peer, const BrokerSites& sites,
                                                const OnlineDevices& online) {
  const BrokerSite* site = sites.find(peer.site);
  if (site == nullptr) return {};
  const auto remote = online.find(peer);
  return site->addresses_for(remote ? remote->ip : IpAddress{});
}

RelayGrantMessage RelayIssuer::message_for(const SessionKey& key, const Identity& end, RelayGrant grant) const {
  const auto addresses = broker_addresses_for(end, sites_, online_);
  return {.session = key.session,
          .transport = RelayTransport::kUdp,
          .relay = addresses.empty() ? SocketAddress{} : addresses.front(),
          .grant = std::move(grant)};
}

void RelayIssuer::handle_requested(Instant now, WallTime wall_now, const RelayRequested& request) {
  if (request.transport != RelayTransport::kUdp) {
    return hub_.refuse_relay(now, request.key, request.requester, request.transport, RefusalReason::kNoRelay);
  }
  auto grants = relay_.issue(request.client, request.gateway, request.key.session.octets, wall_now);
  if (!grants) {
    return hub_.refuse_relay(now, request.key, request.requester, request.transport, refusal_of(grants.error()));
  }
  hub_.grant_relay(now, request.key, request.client,
                   message_for(request.key, request.client, std::move(grants->client)));
  hub_.grant_relay(now, request.key, request.gateway,
                   message_for(request.key, request.gateway, std::move(grants->gateway)));
}

// After a restart only the sealed grant knows the session: it has to be ours, alive, of this
// session, held by one of its ends, and both ends still in the roster.
bool RelayIssuer::restore(Instant now, WallTime wall_now, RelayRenewalRequested& request) {
  const auto claims = relay_.open_grant(request.sealed);
  if (!claims || claims->session != request.key.session.octets || claims->expires < wall_now) return false;
  const Identity& holder = claims->side == RelaySide::kClient ? claims->client : claims->gateway;
  const BrokerSite* site = sites_.find(request.key.site);
  if (holder != request.requester || site == nullptr || claims->client.site != request.key.site) return false;
  const Roster& roster = *site->roster().roster();
  if (roster.find(claims->client) == nullptr || roster.find(claims->gateway) == nullptr) return false;
  request.client = claims->client;
  request.gateway = claims->gateway;
  hub_.restore_session(now, request.key, request.client, request.gateway);
  return true;
}

void RelayIssuer::handle_renewal(Instant now, WallTime wall_now, RelayRenewalRequested request) {
  if (!request.known && !restore(now, wall_now, request)) {
    return hub_.refuse_relay(now, request.key, request.requester, request.transport, RefusalReason::kInvalid);
  }
  auto grants = relay_.issue(request.client, request.gateway, request.key.session.octets, wall_now);
  if (!grants) {
    return hub_.refuse_relay(now, request.key, request.requester, request.transport, refusal_of(grants.error()));
  }
  RelayGrant& own = request.requester == request.client ? grants->client : grants->gateway;
  hub_.grant_relay(now, request.key, request.requester, message_for(request.key, request.requester, std::move(own)));
}

}  // namespace natt::uv
