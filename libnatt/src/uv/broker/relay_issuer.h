// SPDX-License-Identifier: Apache-2.0
#pragma once

// Answers the relay requests of signaling channels: a grant for each end of a session, or a
// refusal with its reason (docs/WIRE.md section 6). Resource type; everything it is given outlives it.

#include <natt/relay_server.h>
#include <natt/signal_hub.h>
#include <natt/tcp_relay.h>

#include "src/uv/broker/broker_sites.h"
#include "src/uv/broker/online_devices.h"

namespace natt::uv {

// Where `peer` reaches this broker: addresses of the family that its channel came with go first. Empty: no such site.
[[nodiscard]] std::vector<SocketAddress> broker_addresses_for(const Identity& peer, const BrokerSites& sites,
                                                              const OnlineDevices& online);

class RelayIssuer {
 public:
  RelayIssuer(RelayServer& relay, TcpRelay& tcp_relay, SignalHub& hub, const BrokerSites& sites,
              const OnlineDevices& online)
      : relay_(relay), tcp_relay_(tcp_relay), hub_(hub), sites_(sites), online_(online) {}
  RelayIssuer(const RelayIssuer&) = delete;
  RelayIssuer& operator=(const RelayIssuer&) = delete;

  // TcpRelay is to be flushed afterwards.
  void handle_requested(Instant now, WallTime wall_now, const RelayRequested& request);
  void handle_renewal(Instant now, WallTime wall_now, RelayRenewalRequested request);

 private:
  void handle_tcp_requested(Instant now, WallTime wall_now, const RelayRequested& request);
  void grant_tcp(Instant now, WallTime wall_now, const SessionKey& key, const Identity& end,
                 const std::optional<TcpRelayTicket>& ticket);
  // Why there is no use in tokens; absent when there is.
  [[nodiscard]] std::optional<RefusalReason> refusal_of_tcp(const RelayRequested& request) const;
  [[nodiscard]] SocketAddress relay_of(const Identity& end) const;
  [[nodiscard]] bool restore(Instant now, WallTime wall_now, RelayRenewalRequested& request);
  [[nodiscard]] RelayGrantMessage message_for(const SessionKey& key, const Identity& end, RelayGrant grant) const;

  RelayServer& relay_;
  TcpRelay& tcp_relay_;
  SignalHub& hub_;
  const BrokerSites& sites_;
  const OnlineDevices& online_;
};

}  // namespace natt::uv
