// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_tunnels.h"

namespace natt::tunnel::uv {

void GatewayTunnels::handle_timeout(Instant now) {
  quic_.handle_timeout(now);
  if (tls_ != nullptr) tls_->handle_timeout(now);
}

std::optional<Instant> GatewayTunnels::next_deadline() const {
  return tls_ == nullptr ? quic_.next_deadline() : earlier(quic_.next_deadline(), tls_->next_deadline());
}

template <typename Poll>
auto GatewayTunnels::poll_in_turn(bool& tls_first, const Poll& poll) {
  if (tls_ == nullptr) return poll(quic_);
  tls_first = !tls_first;
  auto polled = poll(tls_first ? *tls_ : quic_);
  return polled ? polled : poll(tls_first ? quic_ : *tls_);
}

std::optional<ServerEvent> GatewayTunnels::poll_event() {
  return poll_in_turn(tls_event_first_, [](ServerTunnels& tunnels) { return tunnels.poll_event(); });
}

std::optional<Datagram> GatewayTunnels::poll_datagram() {
  return poll_in_turn(tls_datagram_first_, [](ServerTunnels& tunnels) { return tunnels.poll_datagram(); });
}

void GatewayTunnels::close_all(Instant now, const Identity& identity, std::string_view reason) {
  quic_.close_all(now, identity, reason);
  if (tls_ != nullptr) tls_->close_all(now, identity, reason);
}

void GatewayTunnels::drain(Instant now) {
  quic_.drain(now);
  if (tls_ != nullptr) tls_->drain(now);
}

bool GatewayTunnels::is_idle() const { return quic_.is_idle() && (tls_ == nullptr || tls_->is_idle()); }

}  // namespace natt::tunnel::uv
