// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/uv/gateway.h>

#include "src/uv/gateway/gateway_impl.h"

namespace natt::tunnel::uv {

using natt::uv::SiteSignaling;

Result<std::unique_ptr<Gateway>> Gateway::open(uv_loop_s& loop, GatewayOptions options, const GatewayPolicy& policy,
                                               Random& random, Listener& listener) {
  auto impl = std::make_unique<Impl>(loop, std::move(options), policy, random, listener);
  if (auto opened = impl->open(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

Gateway::Gateway(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gateway::~Gateway() = default;

Result<RosterChange> Gateway::update_roster(Instant now, const SignedRoster& documents) {
  auto change = impl_->signaling_->update_roster(now, documents);
  impl_->flush(now);
  return change;
}

Result<void> Gateway::update_keys(Instant now, const Credentials& credentials,
                                  std::vector<natt::uv::SpaOwnKey> spa_keys) {
  auto prepared = impl_->material_->prepare(credentials, std::move(spa_keys));
  if (!prepared) return tl::unexpected(prepared.error());
  if (auto set = impl_->gate_->set_keys(GatewayMaterial::copy_pairs(prepared->keys)); !set) return set;
  // Nothing fails from here on: the old keys and the new ones never serve together.
  impl_->material_->exchange(*prepared);
  impl_->quic_->set_tls(impl_->material_->quic_context());
  if (impl_->tls_) impl_->tls_->server().set_tls(impl_->material_->tls_context());
  impl_->signaling_->handle_new_material(impl_->material_->older(), std::move(prepared->signaling));
  impl_->timer_.arm(now);
  return {};
}

void Gateway::set_stun_keepalive(Instant now, Duration interval) {
  impl_->driver_->endpoint().set_stun_keepalive(now, interval);
  impl_->driver_->flush(now);
}

void Gateway::handle_policy_change(Instant now) {
  std::vector<Identity> unknown;
  for (const auto& [id, tunnel] : impl_->tunnels_) {
    if (!impl_->policy_.knows(tunnel.client)) unknown.push_back(tunnel.client);
  }
  for (const Identity& client : unknown) impl_->end_client(now, client, "no entitlements");
  impl_->streams_->handle_policy_change(now);
  impl_->flush(now);
}

void Gateway::drain(Instant now) {
  impl_->draining_ = true;
  impl_->server_->drain(now);
  impl_->signaling_->stop();
  impl_->flush(now);
}

void Gateway::close(Instant now, std::string_view reason) {
  std::vector<ConnectionId> open;
  for (const auto& [id, tunnel] : impl_->tunnels_) open.push_back(id);
  for (const ConnectionId id : open) impl_->server_->close(now, id, reason);
  impl_->flush(now);
}

bool Gateway::is_drained() const { return impl_->tunnels_.empty(); }
SocketAddress Gateway::local_address() const { return impl_->driver_->local_address(); }
const Roster& Gateway::roster() const { return impl_->signaling_->roster(); }
const std::optional<RosterRejection>& Gateway::roster_rejection() const {
  return impl_->signaling_->store().last_rejection();
}
std::vector<SiteSignaling::BrokerState> Gateway::brokers() const { return impl_->signaling_->states(); }
ServerStats Gateway::tunnel_stats() const { return impl_->quic_->stats(); }
std::optional<GatewayDoorState> Gateway::door() const {
  return impl_->tls_ ? std::optional(impl_->tls_->door()) : std::nullopt;
}
std::optional<TlsServerStats> Gateway::tls_stats() const {
  return impl_->tls_ ? std::optional(impl_->tls_->server().stats()) : std::nullopt;
}
const PunchAgent::Stats& Gateway::punch_stats() const { return impl_->driver_->endpoint().punch_stats(); }
const natt::uv::UdpSocket::Stats& Gateway::udp_stats() const { return impl_->driver_->socket_stats(); }
std::chrono::milliseconds Gateway::clock_offset() const { return impl_->signaling_->clock_offset(); }
spa::VerifierStats Gateway::spa_stats() const { return impl_->gate_->stats(); }
std::vector<std::string> Gateway::own_complaints() const { return impl_->signaling_->own_complaints(); }
const RetiredKeys& Gateway::retired_keys() const { return impl_->gate_->retired_keys(); }
std::optional<std::uint16_t> Gateway::missing_own_key() const {
  return impl_->gate_->missing_own_key(impl_->signaling_->roster());
}
std::optional<spa::ReplayStatus> Gateway::replay_status() const { return impl_->gate_->replay_status(); }
std::size_t Gateway::session_count() const { return impl_->sessions_->size(); }
std::size_t Gateway::stream_count() const { return impl_->streams_->size(); }

ConnectionCounts Gateway::connection_counts() const {
  ConnectionCounts counts{};
  for (const auto& [id, tunnel] : impl_->tunnels_) ++counts[static_cast<std::size_t>(impl_->type_of(tunnel))];
  return counts;
}

std::vector<GatewayConnection> Gateway::connections() const {
  std::vector<GatewayConnection> connections;
  for (const auto& [id, tunnel] : impl_->tunnels_) connections.push_back(impl_->describe(id));
  return connections;
}

}  // namespace natt::tunnel::uv
