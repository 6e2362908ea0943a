// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_tls.h"

#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

using natt::uv::TcpConnection;
using natt::uv::wall_now;

Result<std::unique_ptr<GatewayTls>> GatewayTls::open(uv_loop_s& loop, const TlsDoor::Options& options,
                                                     const TlsContext& context, const spa::VerifierGroup& verifiers,
                                                     const GatewayPolicy& policy, Random& random,
                                                     TlsConnections::Owner& owner) {
  auto server = TlsServer::make(context, {.transport = {.log = options.log}});
  if (!server) return tl::unexpected(server.error());
  std::unique_ptr<GatewayTls> tls(new GatewayTls(loop, std::move(*server), policy, options.log, owner));
  auto door = TlsDoor::open(loop, options, verifiers, policy, random, *tls);
  if (!door) return tl::unexpected(door.error());
  tls->door_ = std::move(*door);
  return tls;
}

GatewayTls::GatewayTls(uv_loop_s& loop, std::unique_ptr<TlsServer> server, const GatewayPolicy& policy, LogSink log,
                       TlsConnections::Owner& owner)
    : policy_(policy), server_(std::move(server)), connections_(*server_, owner), legs_(loop, {.log = log}, *this) {}

GatewayTls::~GatewayTls() = default;

void GatewayTls::on_client_admitted(Instant now, const Identity& client, std::unique_ptr<TcpConnection> connection,
                                    ByteView hello) {
  const TlsRoute route{.remote = connection->remote_address(), .session = std::nullopt};
  connections_.add(now, wall_now(), client, std::move(connection), route, hello);
}

// The policy may have changed since the session's offer.
void GatewayTls::on_relay_leg(Instant now, const SessionId& session, const Identity& client,
                              std::unique_ptr<TcpConnection> connection, ByteView first) {
  if (!policy_.knows(client)) return;
  const TlsRoute route{.remote = connection->remote_address(), .session = session};
  connections_.add(now, wall_now(), client, std::move(connection), route, first);
}

}  // namespace natt::tunnel::uv
