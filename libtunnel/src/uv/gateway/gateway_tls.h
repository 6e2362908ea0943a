// SPDX-License-Identifier: Apache-2.0
#pragma once

// All that a gateway of a TLS site has beside QUIC: the server, the door that clients come
// to directly, the legs on which they come through a relay, and their connections.
//
// Resource type on the loop's thread; everything borrowed outlives it. After the destructor
// has returned no callback runs.

#include <memory>
#include <optional>

#include <natt/tunnel/uv/gateway.h>

#include "src/uv/gateway/relay_legs.h"
#include "src/uv/gateway/tls_connections.h"
#include "src/uv/gateway/tls_door.h"

namespace natt::tunnel::uv {

class GatewayTls final : private TlsDoor::Owner, private RelayLegs::Owner {
 public:
  // `context` is for the server, the rest as for its parts.
  [[nodiscard]] static Result<std::unique_ptr<GatewayTls>> open(uv_loop_s& loop, const TlsDoor::Options& options,
                                                                const TlsContext& context,
                                                                const spa::VerifierGroup& verifiers,
                                                                const GatewayPolicy& policy, Random& random,
                                                                TlsConnections::Owner& owner);
  ~GatewayTls() override;
  GatewayTls(const GatewayTls&) = delete;
  GatewayTls& operator=(const GatewayTls&) = delete;

  [[nodiscard]] TlsServer& server() { return *server_; }
  [[nodiscard]] TlsConnections& connections() { return connections_; }
  [[nodiscard]] RelayLegs& legs() { return legs_; }
  [[nodiscard]] GatewayDoorState door() const { return {.plan = door_->plan(), .connections = door_->stats()}; }

 private:
  GatewayTls(uv_loop_s& loop, std::unique_ptr<TlsServer> server, const GatewayPolicy& policy, LogSink log,
             TlsConnections::Owner& owner);
  void on_client_admitted(Instant now, const Identity& client, std::unique_ptr<natt::uv::TcpConnection> connection,
                          ByteView hello) override;
  void on_relay_leg(Instant now, const SessionId& session, const Identity& client,
                    std::unique_ptr<natt::uv::TcpConnection> connection, ByteView first) override;

  const GatewayPolicy& policy_;
  std::unique_ptr<TlsServer> server_;
  TlsConnections connections_;
  RelayLegs legs_;
  std::unique_ptr<TlsDoor> door_;
};

}  // namespace natt::tunnel::uv
