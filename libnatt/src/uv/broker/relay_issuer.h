// SPDX-License-Identifier: Apache-2.0
#pragma once

// Answers the relay requests of signaling channels: a grant for each end of a session, or a
// refusal with its reason (docs/WIRE.md section 6). Resource type; everything it is given outlives it.

#include <natt/relay_server.h>
#include <natt/signal_hub.h>

#include "src/uv/broker/broker_sites.h"
#include "src/uv/broker/online_devices.h"

namespace natt::uv {

// Where `peer` reaches this broker: addresses of the family that its channel came with go first. Empty: no such site.
[[nodiscard]] std::vector<SocketAddress> broker_addresses_for(const Identity& peer, const BrokerSites& sites,
                                                              const OnlineDevices& online);

class RelayIssuer {
 public:
  RelayIssuer(RelayServer& relay, SignalHub& hub, const BrokerSites& sites, const OnlineDevices& online)
      : relay_(relay), hub_(hub), sites_(sites), online_(online) {}
  RelayIssuer(const RelayIssuer&) = delete;
  RelayIssuer& operator=(const RelayIssuer&) = delete;

  void handle_requested(Instant now, WallTime wall_now, const RelayRequested& request);
  void handle_renewal(Instant now, WallTime wall_now, RelayRenewalRequested request);

 private:
  [[nodiscard]] bool restore(Instant now, WallTime wall_now, RelayRenewalRequested& request);
  [[nodiscard]] RelayGrantMessage message_for(const SessionKey& key, const Identity& end, RelayGrant grant) const;

  RelayServer& relay_;
  SignalHub& hub_;
  const BrokerSites& sites_;
  const OnlineDevices& online_;
};

}  // namespace natt::uv
