// SPDX-License-Identifier: Apache-2.0
// The endpoint's relay legs: one per relayed session, found by leg id when a frame
// comes in and by handle when the path table asks.
#include <natt/endpoint.h>

namespace natt {

void Endpoint::add_relay(Instant now, WallTime wall_now, const SessionId& session, const SocketAddress& relay,
                         RelayGrant grant) {
  Session& entry = session_entry(session);
  entry.sealed_grant = grant.sealed;
  if (entry.leg && !entry.leg->closed() && entry.leg->relay() == relay) {
    entry.leg->renew(std::move(grant), now, wall_now);
  } else {
    drop_leg(session, entry);
    entry.leg = std::make_unique<RelayLeg>(
        RelayLeg::Options{.relay = relay, .keepalive = options_.stun_keepalive, .log = options_.log}, std::move(grant));
    entry.leg->start(now, wall_now);
  }
  drain_leg(session, entry);
}

std::optional<TunnelPacket> Endpoint::handle_relay(Instant now, WallTime wall_now, const SocketAddress& from,
                                                   ByteView bytes) {
  const auto header = parse_relay_header(bytes);
  if (!header) return std::nullopt;
  if (header->kind != RelayKind::kData) {
    handle_relay_control(now, wall_now, from, bytes);
    return std::nullopt;
  }
  const auto owner = by_leg_id_.find(header->leg);
  if (owner == by_leg_id_.end()) return std::nullopt;
  const Session& session = sessions_.at(owner->second);
  const auto payload = session.leg->unwrap(from, bytes);
  if (!payload) return std::nullopt;
  return TunnelPacket{Route::relay(session.leg_handle), *payload};
}

void Endpoint::handle_relay_control(Instant now, WallTime wall_now, const SocketAddress& from, ByteView bytes) {
  const auto header = parse_relay_header(bytes);
  if (const auto owner = by_leg_id_.find(header->leg); owner != by_leg_id_.end()) {
    const SessionId id = owner->second;
    Session& session = sessions_.at(id);
    session.leg->handle_datagram(now, wall_now, from, bytes);
    drain_leg(id, session);
    return;
  }
  // A leg learns its id with the first answer: those still waiting for one look at the frame. The MAC decides.
  std::vector<SessionId> waiting;
  for (const auto& [id, session] : sessions_) {
    if (session.leg && session.leg->relay() == from && !session.leg->closed()) waiting.push_back(id);
  }
  for (const SessionId& id : waiting) {
    Session& session = sessions_.at(id);
    session.leg->handle_datagram(now, wall_now, from, bytes);
    drain_leg(id, session);
  }
}

void Endpoint::drain_leg(const SessionId& id, Session& session) {
  while (auto transmit = session.leg->poll_transmit()) transmits_.push_back(std::move(*transmit));
  while (session.leg) {
    const auto event = session.leg->poll_event();
    if (!event) break;
    on_leg_event(id, session, *event);
  }
  if (session.leg) leg_deadlines_.set(session.leg_handle.value, session.leg->next_deadline());
}

void Endpoint::on_leg_event(const SessionId& id, Session& session, const RelayLeg::Event& event) {
  if (std::holds_alternative<RelayLeg::Bound>(event)) {
    on_leg_bound(id, session);
    if (std::get<RelayLeg::Bound>(event).peer_bound) announce_relay(id, session);
  } else if (const auto* peer = std::get_if<RelayLeg::PeerChanged>(&event)) {
    if (peer->peer_bound) announce_relay(id, session);
  } else if (std::holds_alternative<RelayLeg::RenewalNeeded>(event)) {
    push(SessionRelayRenewal{id, session.sealed_grant});
  } else if (std::holds_alternative<RelayLeg::Closed>(event)) {
    drop_leg(id, session);
  }
}

void Endpoint::on_leg_bound(const SessionId& id, Session& session) {
  const auto header = parse_relay_header(session.leg->header());
  if (!header || session.leg_id == header->leg) return;
  if (session.leg_id) by_leg_id_.erase(*session.leg_id);
  session.leg_id = header->leg;
  by_leg_id_.insert_or_assign(header->leg, id);
}

void Endpoint::announce_relay(const SessionId& id, Session& session) {
  if (session.relay_announced) return;
  const auto path = paths_.find_or_create(Route::relay(session.leg_handle));
  if (!path) return;
  session.relay_announced = true;
  path_uses_.insert_or_assign(*path, PathUse{.session = id, .punch = std::nullopt});
  options_.log(LogLevel::kInfo, "natt.relay.ready session=" + id.to_string() + " relay=" +
                                    session.leg->relay().to_string());
  push(SessionPathReady{id, ConnectionType::kRelay, *path});
}

void Endpoint::drop_leg(const SessionId& id, Session& session) {
  if (!session.leg) return;
  if (session.leg_id) by_leg_id_.erase(*session.leg_id);
  session.leg_id.reset();
  leg_deadlines_.set(session.leg_handle.value, std::nullopt);
  session.leg.reset();
  session.relay_announced = false;
  if (const auto path = paths_.find(Route::relay(session.leg_handle))) {
    path_uses_.erase(*path);
    push(SessionPathLost{id, *path});
    paths_.remove(*path);
  }
}

}  // namespace natt
