// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/relay_issuer.h"

#include <natt/errc.h>

namespace natt::uv {
namespace {

RefusalReason refusal_of(const Error& error) {
  if (error.code == make_error_code(Errc::kLimit)) return RefusalReason::kQuota;
  return error.code == make_error_code(Errc::kUnavailable) ? RefusalReason::kRateLimited : RefusalReason::kInvalid;
}

}  // namespace

std::vector<SocketAddress> broker_addresses_for(const Identity& peer, const BrokerSites& sites,
                                                const OnlineDevices& online) {
  const BrokerSite* site = sites.find(peer.site);
  if (site == nullptr) return {};
  const auto remote = online.find(peer);
  return site->addresses_for(remote ? remote->ip : IpAddress{});
}

SocketAddress RelayIssuer::relay_of(const Identity& end) const {
  const auto addresses = broker_addresses_for(end, sites_, online_);
  return addresses.empty() ? SocketAddress{} : addresses.front();
}

RelayGrantMessage RelayIssuer::message_for(const SessionKey& key, const Identity& end, RelayGrant grant) const {
  return {.session = key.session,
          .transport = RelayTransport::kUdp,
          .relay = relay_of(end),
          .grant = std::move(grant)};
}

std::optional<RefusalReason> RelayIssuer::refusal_of_tcp(const RelayRequested& request) const {
  const BrokerSite* site = sites_.find(request.key.site);
  if (site == nullptr) return RefusalReason::kInvalid;
  const Roster& roster = *site->roster().roster();
  if (roster.find(request.client) == nullptr || roster.find(request.gateway) == nullptr) return RefusalReason::kInvalid;
  // Tokens live ten seconds: an end without a channel would not hear of its own in time.
  if (!online_.find(request.gateway)) return RefusalReason::kGatewayOffline;
  if (!online_.find(request.client)) return RefusalReason::kInvalid;
  const bool both = online_.has_feature(request.client, kFeatureRelayTcp) &&
                    online_.has_feature(request.gateway, kFeatureRelayTcp);
  return both ? std::nullopt : std::optional(RefusalReason::kNoRelay);
}

void RelayIssuer::handle_tcp_requested(Instant now, WallTime wall_now, const RelayRequested& request) {
  const auto refuse = [&](RefusalReason reason) {
    hub_.refuse_relay(now, request.key, request.requester, request.transport, reason);
  };
  if (const auto refusal = refusal_of_tcp(request)) return refuse(*refusal);
  const RelaySide requester = request.requester == request.client ? RelaySide::kClient : RelaySide::kGateway;
  const auto answer =
      tcp_relay_.handle_request(now, request.client, request.gateway, request.key.session.octets, requester);
  if (!answer) return refuse(refusal_of(answer.error()));
  grant_tcp(now, wall_now, request.key, request.client, answer->client);
  grant_tcp(now, wall_now, request.key, request.gateway, answer->gateway);
}

void RelayIssuer::grant_tcp(Instant now, WallTime wall_now, const SessionKey& key, const Identity& end,
                            const std::optional<TcpRelayTicket>& ticket) {
  if (!ticket) return;
  RelayGrantMessage message{.session = key.session,
                            .transport = RelayTransport::kTcp,
                            .relay = relay_of(end),
                            .grant = {},
                            .pairing_token = ticket->token};
  message.grant.expires = wall_now + std::chrono::duration_cast<WallTime::duration>(ticket->left);
  hub_.grant_relay(now, key, end, message);
}

void RelayIssuer::handle_requested(Instant now, WallTime wall_now, const RelayRequested& request) {
  if (request.transport == RelayTransport::kTcp) return handle_tcp_requested(now, wall_now, request);
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
  // There is nothing to renew: joined legs stay, and for others new tokens are asked for.
  const bool renewable = request.transport == RelayTransport::kUdp;
  if (!renewable || (!request.known && !restore(now, wall_now, request))) {
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
