// SPDX-License-Identifier: Apache-2.0

// What control frames do to the relay (docs/WIRE.md section 6). Each check that
// fails counts one reason and drops the frame without an answer.

#include <algorithm>

#include <fmt/format.h>

#include "src/relay/relay_server_impl.h"

namespace natt {
namespace {

using relay::ForwardingLeg;
using relay::ForwardingTable;
using relay::Session;

// "reply <= request, 1/s" (DESIGN section 8).
constexpr Duration kChallengeInterval = std::chrono::seconds(1);

}  // namespace

void RelayServer::Impl::handle_control(const Arrival& arrival, ByteView frame) {
  const auto control = parse_relay_control(frame);
  if (!control) {
    ++stats.malformed;
    return;
  }
  switch (control->header.kind) {
    case RelayKind::kBind:
      return handle_bind(arrival, *control, frame);
    case RelayKind::kKeepalive:
      return handle_keepalive(arrival, *control, frame);
    case RelayKind::kEcho:
      return handle_echo(arrival, *control, frame);
    case RelayKind::kClose:
      return handle_close(arrival, *control, frame);
    case RelayKind::kData:
    case RelayKind::kChallenge:
    case RelayKind::kBound:
    case RelayKind::kClosed:
      ++stats.malformed;  // ours to send, not to receive
  }
}

void RelayServer::Impl::handle_bind(const Arrival& arrival, const RelayControl& control, ByteView frame) {
  const auto claims = accept_grant(arrival, control.grant);
  if (!claims) return;
  const RelayKey key = sealer.leg_key(*claims);
  if (!verify_relay_frame(frame, key)) {
    ++stats.bad_mac;
    return;
  }
  if (!timely(arrival, control)) return;
  const auto session = session_for(*claims, arrival.now);
  if (!session) return;
  relay::SessionLeg& leg = sessions.at(*session).leg(claims->side);
  if (!advance_counter(leg, control.counter)) return;
  leg.key = key;
  const Instant expires = arrival.now + (claims->expires - arrival.wall_now);
  leg.expires = std::max(expires, leg.expires.value_or(expires));
  sessions.update_deadline(*session);
  answer_leg(arrival, ForwardingTable::slot_of(*session, claims->side));
}

std::optional<RelayGrantClaims> RelayServer::Impl::accept_grant(const Arrival& arrival, ByteView sealed) {
  auto claims = sealer.open(sealed);
  if (!claims) {
    ++stats.bad_grant;
    return std::nullopt;
  }
  // A grant from the future is one of before our clock stepped back: its lifetime still bounds it.
  if (claims->expires <= arrival.wall_now || claims->issued > arrival.wall_now + options.clock_tolerance) {
    ++stats.grant_expired;
    return std::nullopt;
  }
  if (revoked.covers(claims->client, claims->issued) || revoked.covers(claims->gateway, claims->issued) ||
      ended.covers(claims->session, claims->issued)) {
    ++stats.revoked;
    return std::nullopt;
  }
  return claims;
}

std::optional<std::uint32_t> RelayServer::Impl::session_for(const RelayGrantClaims& claims, Instant now) {
  const auto found = sessions.find(claims.session);
  if (!found) return open_session(claims, now);
  const Session& session = sessions.at(*found);
  if (session.client == claims.client && session.gateway == claims.gateway) return found;
  ++stats.identity_mismatch;
  return std::nullopt;
}

std::optional<std::uint32_t> RelayServer::Impl::open_session(const RelayGrantClaims& claims, Instant now) {
  const auto seat = accounts.take_seat(claims.client);
  if (!seat) {
    ++stats.over_quota;
    return std::nullopt;
  }
  const std::uint32_t index = forwarding.open_pair();
  Session session;
  session.id = claims.session;
  session.client = claims.client;
  session.gateway = claims.gateway;
  session.seat = *seat;
  session.since = now;
  sessions.insert(index, std::move(session));
  ++stats.sessions_opened;
  accounts.begin(now);
  if (options.log.enabled(LogLevel::kInfo)) {
    options.log(LogLevel::kInfo, fmt::format("natt.relay.session client={} gateway={} transport=udp",
                                             claims.client.uri(), claims.gateway.uri()));
  }
  return index;
}

bool RelayServer::Impl::timely(const Arrival& arrival, const RelayControl& control) {
  if (std::chrono::abs(control.time - arrival.wall_now) <= options.clock_tolerance) return true;
  ++stats.wrong_time;
  return false;
}

bool RelayServer::Impl::advance_counter(relay::SessionLeg& leg, std::uint64_t counter) {
  if (counter <= leg.counter) {
    ++stats.replayed;
    return false;
  }
  leg.counter = counter;
  return true;
}

std::optional<std::uint32_t> RelayServer::Impl::authenticate(const Arrival& arrival, const RelayControl& control,
                                                             ByteView frame) {
  const auto slot = forwarding.find(control.header.leg);
  if (!slot) {
    ++stats.unknown_leg;
    return std::nullopt;
  }
  relay::SessionLeg& leg = session_leg(*slot);
  // A leg that never presented its grant has no key.
  if (!leg.expires || !verify_relay_frame(frame, leg.key)) {
    ++stats.bad_mac;
    return std::nullopt;
  }
  return timely(arrival, control) && advance_counter(leg, control.counter) ? slot : std::nullopt;
}

void RelayServer::Impl::handle_keepalive(const Arrival& arrival, const RelayControl& control, ByteView frame) {
  if (const auto slot = authenticate(arrival, control, frame)) answer_leg(arrival, *slot);
}

void RelayServer::Impl::handle_close(const Arrival& arrival, const RelayControl& control, ByteView frame) {
  const auto slot = authenticate(arrival, control, frame);
  if (!slot) return;
  send_closed(ForwardingTable::peer_of(*slot), RelayCloseReason::kPeerClosed);
  end_session(ForwardingTable::session_of(*slot), RelayCloseReason::kPeerClosed);
}

void RelayServer::Impl::handle_echo(const Arrival& arrival, const RelayControl& control, ByteView frame) {
  const auto slot = forwarding.find(control.header.leg);
  if (!slot) {
    ++stats.unknown_leg;
    return;
  }
  const relay::SessionLeg& leg = session_leg(*slot);
  if (!leg.expires || !verify_relay_frame(frame, leg.key)) {
    ++stats.bad_mac;
    return;
  }
  if (control.counter != leg.counter) {
    ++stats.replayed;
    return;
  }
  if (!cookie.check(control.cookie, control.header.leg, arrival.from, control.counter)) {
    ++stats.bad_cookie;
    return;
  }
  bind_leg(arrival, *slot);
}

void RelayServer::Impl::answer_leg(const Arrival& arrival, std::uint32_t slot) {
  ForwardingLeg& leg = forwarding.at(slot);
  if (leg.source != arrival.from) return send_challenge(arrival, slot);
  leg.local = arrival.local;
  send_bound(slot);
}

void RelayServer::Impl::send_challenge(const Arrival& arrival, std::uint32_t slot) {
  relay::SessionLeg& leg = session_leg(slot);
  if (leg.challenged_at && arrival.now < *leg.challenged_at + kChallengeInterval) {
    ++stats.challenge_limited;
    return;
  }
  leg.challenged_at = arrival.now;
  RelayControl challenge;
  challenge.header = {RelayKind::kChallenge, {slot, forwarding.at(slot).tag}};
  challenge.counter = leg.counter;
  challenge.cookie = cookie.make(challenge.header.leg, arrival.from, leg.counter);
  queue(arrival.from, arrival.local, serialize_relay_control(challenge, leg.key));
  ++stats.challenges;
}

void RelayServer::Impl::bind_leg(const Arrival& arrival, std::uint32_t slot) {
  ForwardingLeg& leg = forwarding.at(slot);
  const bool was_bound = leg.bound();
  if (was_bound && leg.source != arrival.from) ++stats.takeovers;
  if (!was_bound) ++stats.binds;
  leg.source = arrival.from;
  leg.local = arrival.local;
  send_bound(slot);
  // The other end learns at once that there is somebody to talk to.
  if (!was_bound && forwarding.at(ForwardingTable::peer_of(slot)).bound()) send_bound(ForwardingTable::peer_of(slot));
}

void RelayServer::Impl::send_bound(std::uint32_t slot) {
  const ForwardingLeg& leg = forwarding.at(slot);
  RelayControl bound;
  bound.header = {RelayKind::kBound, {slot, leg.tag}};
  bound.counter = session_leg(slot).counter;
  bound.peer_bound = forwarding.at(ForwardingTable::peer_of(slot)).bound();
  queue(leg.source, leg.local, serialize_relay_control(bound, session_leg(slot).key));
}

void RelayServer::Impl::send_closed(std::uint32_t slot, RelayCloseReason reason) {
  const ForwardingLeg& leg = forwarding.at(slot);
  if (!leg.bound()) return;
  RelayControl closed;
  closed.header = {RelayKind::kClosed, {slot, leg.tag}};
  closed.reason = static_cast<std::uint8_t>(reason);
  queue(leg.source, leg.local, serialize_relay_control(closed, session_leg(slot).key));
}

void RelayServer::Impl::queue(const SocketAddress& to, const IpAddress& from, ByteBuffer bytes) {
  if (replies.size() >= kReplyQueueLimit) {
    ++stats.replies_dropped;
    return;
  }
  replies.push_back({to, from, std::move(bytes)});
}

}  // namespace natt
