// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/tls_door.h"

#include <utility>

#include <natt/tunnel/tunnel_protocol.h>

namespace natt::tunnel::uv {

Result<std::unique_ptr<TlsDoor>> TlsDoor::open(uv_loop_s& loop, const Options& options,
                                               const spa::VerifierGroup& verifiers, const GatewayPolicy& policy,
                                               Random& random, Owner& owner) {
  std::unique_ptr<TlsDoor> door(new TlsDoor(loop, options, verifiers, policy, random, owner));
  natt::uv::TcpListener::Options listen{.bind = options.listen};
  // There is no moment in which strangers see the port.
  listen.before_listen = [&door](int socket) { return door->hide(socket); };
  if (const auto listening = door->port_.listen(listen); !listening) return tl::unexpected(listening.error());
  return door;
}

TlsDoor::TlsDoor(uv_loop_s& loop, const Options& options, const spa::VerifierGroup& verifiers,
                 const GatewayPolicy& policy, Random& random, Owner& owner)
    : gate_(options.gate),
      log_(options.log),
      policy_(policy),
      owner_(owner),
      plan_(plan_tcp_door(SpaMode::kTcp, std::nullopt, gate_ != nullptr)),
      port_(loop, {.port = kGatewayKnockPort, .wants_knock = plan_.wants_knock, .policy = this, .log = log_}, verifiers,
            grants_, random, *this) {}

TlsDoor::~TlsDoor() = default;

// A gateway that strangers see is better than none.
Result<void> TlsDoor::hide(int socket) {
  if (gate_ != nullptr) {
    if (const auto attached = gate_->attach(socket, spa::GateSocket::kTcpSyn); !attached) {
      plan_ = plan_tcp_door(SpaMode::kTcp, std::nullopt, false);
      plan_.shortfall += ": " + attached.error().message;
    }
  }
  if (!plan_.shortfall.empty()) log_(LogLevel::kWarning, "natt.spa.visible reason=\"" + plan_.shortfall + "\"");
  return {};
}

// Joins are for brokers.
bool TlsDoor::admits(const Identity& identity, Admitted::Purpose purpose) const {
  return purpose == Admitted::Purpose::kSignaling && identity.role == Role::kClient && policy_.knows(identity);
}

void TlsDoor::on_admitted(Instant now, Admitted admitted, std::unique_ptr<natt::uv::TcpConnection> connection) {
  ByteBuffer hello = std::move(admitted.record);
  hello.insert(hello.end(), admitted.rest.begin(), admitted.rest.end());
  owner_.on_client_admitted(now, admitted.identity, std::move(connection), hello);
}

// No UDP knock is wanted here.
void TlsDoor::on_knock_missing(Instant, const KnockMissing&) {}

}  // namespace natt::tunnel::uv
