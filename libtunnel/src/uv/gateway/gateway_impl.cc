// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_impl.h"

#include <array>

#include <natt/authority.h>
#include <natt/errc.h>

namespace natt::tunnel::uv {

using natt::uv::EndpointDriver;
using natt::uv::SiteSignaling;
using natt::uv::Timer;
using natt::uv::wall_now;

Result<void> Gateway::Impl::open() {
  boot_id_ = random_.next_u64();
  auto material = GatewayMaterial::make(options_.credentials, std::move(options_.spa_keys), options_.protocol);
  if (!material) return tl::unexpected(material.error());
  material_ = std::move(*material);
  auto driver = EndpointDriver::open(loop_,
                                     {.bind = options_.listen,
                                      .endpoint = {.role = PunchRole::kControlled,
                                                   .stun_keepalive = options_.stun_keepalive,
                                                   .punch = {.policy = {.private_prefixes = options_.probe_prefixes},
                                                             .log = options_.log},
                                                   .log = options_.log},
                                      .gate = options_.gate},
                                     random_, *this);
  if (!driver) return tl::unexpected(driver.error());
  driver_ = std::move(*driver);
  sessions_ = std::make_unique<GatewaySessions>(material_->credentials(), policy_, *driver_, random_, options_.log);
  if (auto opened = open_signaling(); !opened) return opened;
  if (auto opened = open_verifier(); !opened) return opened;
  if (auto opened = open_servers(); !opened) return opened;
  if (auto opened = open_streams(); !opened) return opened;
  brief_kernel_gate();
  signaling_->start(natt::uv::now());
  flush(natt::uv::now());
  return {};
}

Result<void> Gateway::Impl::open_signaling() {
  auto signaling = SiteSignaling::make(
      loop_,
      {.view = RosterView::kFull,
       .boot_id = boot_id_,
       .software = options_.software,
       .mode = options_.spa_mode,
       .modes = options_.broker_modes,
       .dns_suffix = options_.dns_suffix,
       .older_key = material_->older(),
       .memory_file = options_.memory_file,
       .persist_retry = options_.persist_retry,
       .log = options_.log},
      material_->credentials(), material_->newest(), options_.psk, options_.roster, *driver_, random_, *this);
  if (!signaling) return tl::unexpected(signaling.error());
  signaling_ = std::move(*signaling);
  sessions_->set_signaling(*signaling_);
  const RosterDevice* self = signaling_->roster().find(options_.credentials.identity());
  if (self != nullptr) driver_->endpoint().set_configured_addresses(self->addresses);
  return {};
}

Result<void> Gateway::Impl::open_verifier() {
  InitialVerifier::Options gate{.gateway = options_.credentials.identity(), .keys = material_->pairs(),
                                .psk = options_.psk,
                                .replay_journal = options_.replay_journal,
                                .keys_made = options_.credentials.not_before() + kCertificateBackdating,
                                .retired = std::move(options_.retired),
                                .kernel = options_.gate,
                                .policy = policy_,
                                .loop = &loop_};
  auto verifier =
      InitialVerifier::make(std::move(gate), signaling_->roster(), driver_->endpoint(), random_, options_.log);
  if (!verifier) return tl::unexpected(verifier.error());
  gate_ = std::move(*verifier);
  gate_->handle_timeout(natt::uv::now(), wall_now());
  return {};
}

Result<void> Gateway::Impl::open_servers() {
  auto quic = Server::make(material_->quic_context(), *gate_, gate_->connection_ids(), random_,
                           {.transport = {.log = options_.log}});
  if (!quic) return tl::unexpected(quic.error());
  quic_ = std::move(*quic);
  if (options_.protocol == TunnelProtocol::kTls) {
    const SocketAddress listen{options_.listen.ip, driver_->local_address().port};
    auto tls = GatewayTls::open(loop_, {.listen = listen, .gate = options_.gate, .log = options_.log},
                                material_->tls_context(), gate_->verifiers(), policy_, random_, *this);
    if (!tls) return tl::unexpected(tls.error());
    tls_ = std::move(*tls);
    sessions_->set_relay_legs(tls_->legs());
  }
  server_ = std::make_unique<GatewayTunnels>(*quic_, tls_ ? &tls_->server() : nullptr);
  return {};
}

Result<void> Gateway::Impl::open_streams() {
  pump_ = std::make_unique<PacketPump>(*driver_);
  absence_ = std::make_unique<AbsenceProbe>(
      *server_, [this](ConnectionId id) { return tls_ && tls_->connections().moves_backlog(id); });
  streams_ = std::make_unique<GatewayStreams>(loop_, *server_, policy_, options_.log,
                                              static_cast<GatewayStreams::Owner&>(*this));
  return options_.tun.enabled ? streams_->open_ip(options_.tun, random_) : Result<void>{};
}

// Answers to what the endpoint asks need no key: the driver tells the gate what it asked.
void Gateway::Impl::brief_kernel_gate() {
  if (options_.gate == nullptr) return;
  const std::array<const spa::ConnectionIdKey*, 1> ids{&gate_->connection_ids()};
  options_.gate->set_connection_id_keys(ids);
  options_.gate->set_stun_keys({&sessions_->transaction_key(), 1});
  kernel_gate_.flush();
}

void Gateway::Impl::on_tunnel_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  if (!quic_) return;
  quic_->handle_packet(now, path, ecn, packet);
  driver_->endpoint().note_received(now, path);
}

void Gateway::Impl::on_knock(Instant now, const SocketAddress& from, ByteView datagram) {
  if (gate_) gate_->handle_knock(now, driver_->local_address().port, from, datagram);
}

// Comes from inside streams: their packets go out at once, but events, which may end the very
// stream, wait for the next turn of the loop.
void Gateway::Impl::on_streams_progress(Instant now) {
  again_ = true;
  if (flushing_) return;
  static_cast<void>(pump_->pump(now, *quic_));
  if (tls_) static_cast<void>(tls_->connections().flush(now));
  timer_.arm(now);
}

void Gateway::Impl::on_timer(Instant now) {
  server_->handle_timeout(now);
  if (tls_) tls_->connections().handle_timeout(now);
  gate_->handle_timeout(now, wall_now());
  kernel_gate_.flush();
  if (const std::string retired = gate_->take_retired_lines(); !retired.empty()) listener_.on_keys_retired(retired);
  sessions_->handle_timeout(now);
  for (const ConnectionId gone : absence_->handle_timeout(now)) end_dead_tunnel(now, gone);
  flush(now);
}

void Gateway::Impl::flush(Instant now) {
  if (!server_ || !streams_) return;
  if (flushing_) {
    again_ = true;  // a handler below caused something: the loop goes round once more
    return;
  }
  flushing_ = true;
  do {
    again_ = false;
    while (auto event = server_->poll_event()) handle_server_event(now, *event);
    streams_->handle_datagrams(now);
    static_cast<void>(pump_->pump(now, *quic_));
    if (tls_ && tls_->connections().flush(now)) again_ = true;
  } while (again_);
  flushing_ = false;
  streams_->collect();
  timer_.arm(next_deadline());
}

void Gateway::Impl::handle_server_event(Instant now, const ServerEvent& event) {
  if (const auto* connected = std::get_if<ClientConnected>(&event)) {
    on_connected(now, *connected);
  } else if (const auto* gone = std::get_if<ClientDisconnected>(&event)) {
    on_disconnected(now, *gone);
  } else if (const auto* changed = std::get_if<PathChanged>(&event)) {
    on_path_changed(now, *changed);
  } else if (const auto* request = std::get_if<Request>(&event)) {
    streams_->handle_request(now, *request);
  } else {
    streams_->handle_event(now, event);
  }
}

void Gateway::Impl::on_connected(Instant now, const ClientConnected& connected) {
  if (const auto admitted = signaling_->roster().admits(connected.identity, connected.serial); !admitted) {
    options_.log(LogLevel::kWarning, "natt.tunnel.refused client=" + connected.identity.uri() + " reason=\"" +
                                         admitted.error().message + "\"");
    return server_->close(now, connected.connection, "revoked");
  }
  const auto route = tls_ ? tls_->connections().route(connected.connection) : std::nullopt;
  if (route && route->session && !sessions_->contains(*route->session)) {
    return server_->close(now, connected.connection, "the session has ended");
  }
  Tunnel& tunnel = tunnels_[connected.connection];
  tunnel = {.client = connected.identity, .path = connected.path, .tls = route, .session = std::nullopt, .since = now};
  if (tunnel.path) driver_->endpoint().use_path(now, tunnel.path);
  bind_session(now, tunnel);
  const auto remote = remote_of(tunnel);
  options_.log(LogLevel::kInfo, "natt.tunnel.open client=" + tunnel.client.uri() + " protocol=" +
                                    std::string(to_string(protocol_of(connected.connection))) + " type=\"" +
                                    std::string(to_string(type_of(tunnel))) + "\" remote=" +
                                    (remote ? remote->to_string() : "gone"));
}

ConnectionType Gateway::Impl::type_of(const Tunnel& tunnel) const {
  if (!tunnel.tls) return driver_->endpoint().type_of(tunnel.path);
  return tunnel.tls->session ? ConnectionType::kRelay : ConnectionType::kDirect;
}

std::optional<SocketAddress> Gateway::Impl::remote_of(const Tunnel& tunnel) const {
  return tunnel.tls ? tunnel.tls->remote : driver_->endpoint().remote_address(tunnel.path);
}

void Gateway::Impl::bind_session(Instant now, Tunnel& tunnel) {
  if (tunnel.session) return;
  tunnel.session = tunnel.tls ? tunnel.tls->session : driver_->endpoint().session_of(tunnel.path);
  if (!tunnel.session) return;
  sessions_->note_tunnel(*tunnel.session);
  if (!tunnel.path) return;
  // Pinned already; again, so that the checks of the session learn that the path is in use.
  driver_->endpoint().release_path(now, tunnel.path);
  driver_->endpoint().use_path(now, tunnel.path);
}

void Gateway::Impl::release(Instant now, Tunnel& tunnel) {
  if (tunnel.path) driver_->endpoint().release_path(now, tunnel.path);
  if (tunnel.session) sessions_->release_tunnel(now, *tunnel.session, tunnel.tls.has_value());
  tunnel.session.reset();
}

void Gateway::Impl::on_disconnected(Instant now, const ClientDisconnected& gone) {
  streams_->drop_connection(gone.connection);
  const auto found = tunnels_.find(gone.connection);
  if (found == tunnels_.end()) return;
  options_.log(LogLevel::kInfo,
               "natt.tunnel.closed client=" + gone.identity.uri() + " protocol=" +
                   std::string(to_string(protocol_of(gone.connection))) + " reason=\"" + gone.error.message + "\"");
  Tunnel tunnel = std::move(found->second);
  tunnels_.erase(found);
  absence_->forget(gone.connection);
  release(now, tunnel);
}

void Gateway::Impl::on_path_changed(Instant now, const PathChanged& changed) {
  const auto found = tunnels_.find(changed.connection);
  if (found == tunnels_.end()) return;
  release(now, found->second);
  found->second.path = changed.path;
  driver_->endpoint().use_path(now, changed.path);
  bind_session(now, found->second);
}

void Gateway::Impl::on_endpoint_event(Instant now, const EndpointEvent& event) {
  if (!signaling_) return;
  if (std::holds_alternative<LocalCandidatesChanged>(event)) {
    sessions_->trickle(now);
    register_everywhere(now);
  } else if (const auto* stun = std::get_if<StunReport>(&event)) {
    signaling_->note_stun(*stun);
    if (stun->error) options_.log(LogLevel::kWarning, "natt.stun.failed reason=\"" + stun->error->message + "\"");
  } else if (const auto* ready = std::get_if<SessionPathReady>(&event)) {
    for (auto& [id, tunnel] : tunnels_) {
      if (tunnel.path == ready->path) bind_session(now, tunnel);
    }
  } else if (const auto* lost = std::get_if<SessionPathLost>(&event)) {
    ask_for_life(now, [&](const Tunnel& tunnel) { return tunnel.path == lost->path; });
  } else if (const auto* renewal = std::get_if<SessionRelayRenewal>(&event)) {
    sessions_->request_relay_renewal(now, *renewal);
  }
}

// The client may have moved on without a word that reached us: it keeps the tunnel by answering.
void Gateway::Impl::ask_for_life(Instant now, const std::function<bool(const Tunnel&)>& concerned) {
  for (const auto& [id, tunnel] : tunnels_) {
    if (!concerned(tunnel)) continue;
    const bool relayed_tcp = tunnel.tls && tunnel.tls->session;
    absence_->start(now, id, relayed_tcp ? AbsenceProbe::kRelayPatience : AbsenceProbe::kPatience);
  }
  timer_.arm(now);
}

void Gateway::Impl::on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) {
  if (std::holds_alternative<SignalConnected>(event)) send_registration(now, broker);
  if (const auto* offer = std::get_if<ForwardedOffer>(&event)) {
    if (!draining_) sessions_->handle_offer(now, broker, *offer);
  }
  if (const auto* batch = std::get_if<CandidateBatch>(&event)) sessions_->handle_candidates(now, *batch);
  if (const auto* grant = std::get_if<RelayGrantMessage>(&event)) sessions_->handle_relay_grant(now, *grant);
  if (const auto* end = std::get_if<SessionEnd>(&event)) {
    ask_for_life(now, [&](const Tunnel& tunnel) { return tunnel.session == end->session; });
    sessions_->handle_session_end(now, *end);
    for (auto& [id, tunnel] : tunnels_) {
      if (tunnel.session && !driver_->endpoint().has_session(*tunnel.session)) tunnel.session.reset();
    }
  }
  if (const auto* absent = std::get_if<PeerAbsent>(&event)) on_peer_absent(now, *absent);
  flush(now);
}

void Gateway::Impl::on_peer_absent(Instant now, const PeerAbsent& absent) {
  ask_for_life(now, [&](const Tunnel& tunnel) { return tunnel.client == absent.client; });
}

void Gateway::Impl::end_dead_tunnel(Instant now, ConnectionId id) {
  const auto found = tunnels_.find(id);
  const auto session = found == tunnels_.end() ? std::nullopt : found->second.session;
  server_->close(now, id, "no sign of life");
  if (session) sessions_->end(now, *session, SessionEndReason::kPeerGone);
}

std::optional<Instant> Gateway::Impl::next_deadline() const {
  auto deadline = earlier(earlier(server_->next_deadline(), absence_->next_deadline()),
                          earlier(gate_->next_deadline(), sessions_->next_deadline()));
  deadline = earlier(deadline, kernel_gate_.next_deadline(natt::uv::now()));
  return tls_ ? earlier(deadline, tls_->connections().next_deadline()) : deadline;
}

void Gateway::Impl::send_registration(Instant now, BrokerIndex broker) {
  GatewayRegistration registration{.udp = driver_->endpoint().udp_reach(),
                                   .load = {.sessions = static_cast<std::uint32_t>(tunnels_.size())},
                                   .boot_id = boot_id_};
  const RosterDevice* self = signaling_->roster().find(options_.credentials.identity());
  if (self != nullptr) registration.addresses = self->addresses;
  static_cast<void>(signaling_->send(now, broker, registration));
}

void Gateway::Impl::register_everywhere(Instant now) {
  for (const BrokerIndex broker : signaling_->connected()) send_registration(now, broker);
}

void Gateway::Impl::on_roster(Instant now, const RosterChange& change) {
  if (gate_) gate_->handle_roster_change(signaling_->roster(), change);
  for (const Identity& identity : change.removed) end_client(now, identity, "revoked");
  for (const RevokedCertificate& revoked : change.revoked) end_client(now, revoked.identity, "certificate revoked");
  listener_.on_roster(signaling_->roster());
  flush(now);
}

void Gateway::Impl::end_client(Instant now, const Identity& client, std::string_view reason) {
  if (!server_) return;
  server_->close_all(now, client, reason);
  sessions_->end_client(now, client);
}

GatewayConnection Gateway::Impl::describe(ConnectionId id) const {
  const Tunnel& tunnel = tunnels_.at(id);
  ConnectionStats stats = server_->stats(id).value_or(ConnectionStats{});
  if (tunnel.tls) stats.smoothed_rtt_us = tls_->connections().smoothed_rtt_us(id);
  return {.client = tunnel.client,
          .type = type_of(tunnel),
          .protocol = protocol_of(id),
          .remote = remote_of(tunnel),
          .stats = stats,
          .since = tunnel.since};
}

}  // namespace natt::tunnel::uv
