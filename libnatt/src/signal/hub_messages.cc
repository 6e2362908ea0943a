// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/signal/message_roles.h"
#include "src/signal/sealed_peek.h"
#include "src/signal/signal_hub_impl.h"

namespace natt {

void SignalHub::Impl::handle_message(Instant now, WallTime wall_now, HubChannel& from, SignalMessage message) {
  if (!may_send(from.identity.role, Role::kBroker, message)) {
    return end_for_protocol(now, from.id,
                            fmt::format("a {} does not send {}", to_string(from.identity.role), name_of(message)));
  }
  const auto* hello = std::get_if<SignalHello>(&message);
  if ((hello != nullptr) != (from.state == HubChannel::State::kGreeting)) {
    return end_for_protocol(now, from.id, fmt::format("{} is out of order", name_of(message)));
  }
  if (hello != nullptr) return handle_hello(now, wall_now, from, *hello);
  std::visit(
      [&](auto& kind) {
        // may_send() let nothing through that has no handler.
        if constexpr (requires { handle(now, wall_now, from, kind); }) handle(now, wall_now, from, kind);
      },
      message);
}

void SignalHub::Impl::handle_hello(Instant now, WallTime wall_now, HubChannel& from, const SignalHello& hello) {
  const ChannelId id = from.id;
  from.state = HubChannel::State::kOpen;
  const auto own = handshakes.find(from.identity);
  if (--own->second == 0) handshakes.erase(own);
  ++stats.handshakes_completed;
  set_deadline(from, now + options.idle_timeout);
  if (const auto older = presence.arrive(from.identity, id)) {
    end_channel(now, *older, LogLevel::kInfo, {Errc::kClosed, "the device opened a newer channel"});
  }
  const RosterDevice* listed = from.site->roster->roster()->find(from.identity);
  const bool has_key = listed != nullptr && !listed->spa_keys.empty();
  send(now, from,
       SignalWelcome{.version = kSignalVersion,
                     .features = options.features,
                     .boot_id = options.boot_id,
                     .broker_time = wall_now,
                     .observed = from.remote,
                     .key_generation = has_key ? listed->spa_keys.back().generation : std::uint16_t{0}});
  open_channel(now, id, hello);
}

void SignalHub::Impl::open_channel(Instant now, ChannelId id, const SignalHello& hello) {
  HubChannel* channel = find(id);
  if (channel == nullptr) return;
  events.push_back(ChannelOpened{id, channel->identity, channel->remote, hello});
  for (const SessionKey& key : sessions.sessions_of(channel->identity)) {
    HubSession& session = *sessions.find(key);
    const bool complete = presence.channel_of(session.other_end(channel->identity)).has_value();
    if (session.accepted && complete) sessions.set_deadline(key, session, std::nullopt);
  }
  if (hello.roster_number < channel->site->roster->number()) start_push(now, *channel);
  if (channel->identity.role == Role::kClient) send_directory(now, *channel);
}

void SignalHub::Impl::send_directory(Instant now, HubChannel& to) {
  const ChannelId id = to.id;
  for (const GatewayDirectory& part : presence.directory(to.identity.site)) {
    if (HubChannel* channel = find(id)) send(now, *channel, part);
  }
}

void SignalHub::Impl::announce_gateway(Instant now, const GatewayEntry& entry) {
  const GatewayDirectory update{.complete = false, .entries = {entry}};
  for (const ChannelId id : presence.channels(entry.gateway.site, Role::kClient)) {
    if (HubChannel* channel = find(id)) send(now, *channel, update);
  }
}

void SignalHub::Impl::handle(Instant now, WallTime, HubChannel& from, GatewayRegistration& message) {
  const Identity gateway = from.identity;
  events.push_back(GatewayRegistered{gateway, message});
  if (presence.set_registration(gateway, message)) announce_gateway(now, {gateway, true, message});
}

std::vector<IpAddress> SignalHub::Impl::vouched(Instant now, const Identity& device) const {
  if (options.seen == nullptr) return {};
  std::vector<IpAddress> addresses = options.seen->seen_addresses(now, device);
  if (addresses.size() > kMaxVouched) addresses.resize(kMaxVouched);
  return addresses;
}

std::optional<RefusalReason> SignalHub::Impl::accept_offer(Instant now, const HubChannel& from,
                                                           const OfferMessage& message) {
  if (draining) return RefusalReason::kDraining;
  const auto last = last_offers.find(from.identity);
  if (last != last_offers.end() && now - last->second < options.offer_interval) return RefusalReason::kRateLimited;
  last_offers[from.identity] = now;
  const bool same_site = message.gateway.site == from.identity.site;
  if (!same_site || from.site->roster->roster()->find(message.gateway) == nullptr) {
    return RefusalReason::kUnknownGateway;
  }
  if (find_open(message.gateway) == nullptr) return RefusalReason::kGatewayOffline;
  return sessions.add({from.identity.site, message.session}, HubSession{.client = from.identity,
                                                                        .gateway = message.gateway,
                                                                        .accepted = false,
                                                                        .deadline = now + options.answer_timeout,
                                                                        .relay_wanted = {}});
}

void SignalHub::Impl::handle(Instant now, WallTime, HubChannel& from, OfferMessage& message) {
  if (const auto refusal = accept_offer(now, from, message)) {
    ++stats.offers_rejected;
    return send(now, from, OfferRejection{message.session, *refusal});
  }
  ++stats.offers_forwarded;
  send_to(now, message.gateway,
          ForwardedOffer{.session = message.session,
                         .client = from.identity,
                         .vouched = vouched(now, from.identity),
                         .sealed_offer = std::move(message.sealed_offer)});
}

HubSession* SignalHub::Impl::find_session(const SessionKey& key, const Identity& end) {
  HubSession* session = sessions.find(key);
  if (session != nullptr && session->has_end(end)) return session;
  ++stats.stray_messages;
  return nullptr;
}

void SignalHub::Impl::handle(Instant now, WallTime wall_now, HubChannel& from, AnswerMessage& message) {
  const SessionKey key{from.identity.site, message.session};
  HubSession* session = find_session(key, from.identity);
  // Answered already: only the first one counts.
  if (session == nullptr || session->accepted) return;
  const Identity client = session->client;
  const bool accepted = is_acceptance(message.sealed_answer);
  message.vouched = vouched(now, from.identity);
  send_to(now, client, message);
  // Sending may have ended the client's channel, and with it the offer.
  session = sessions.find(key);
  if (session == nullptr) return;
  if (!accepted) return sessions.remove(key);
  accept_session(now, wall_now, key, *session);
}

void SignalHub::Impl::accept_session(Instant now, WallTime wall_now, const SessionKey& key, HubSession& session) {
  session.accepted = true;
  const bool complete = presence.channel_of(session.client) && presence.channel_of(session.gateway);
  sessions.set_deadline(key, session, complete ? std::nullopt : std::optional(now + options.session_grace));
  events.push_back(SessionOpened{key, session.client, session.gateway});
  for (const auto& [transport, requester] : std::exchange(session.relay_wanted, {})) {
    request_relay(key, session, transport, requester);
  }
  const PunchStart start{key.session, wall_now + options.punch_lead};
  const Identity client = session.client;
  const Identity gateway = session.gateway;
  send_to(now, client, start);
  send_to(now, gateway, start);
}

void SignalHub::Impl::handle(Instant now, WallTime, HubChannel& from, CandidateBatch& message) {
  HubSession* session = find_session({from.identity.site, message.session}, from.identity);
  if (session == nullptr) return;
  message.vouched = vouched(now, from.identity);
  send_to(now, session->other_end(from.identity), message);
}

void SignalHub::Impl::remove_session(const SessionKey& key, SessionEndReason reason) {
  const HubSession* session = sessions.find(key);
  if (session == nullptr) return;
  if (session->accepted) events.push_back(SessionClosed{key, session->client, session->gateway, reason});
  sessions.remove(key);
}

void SignalHub::Impl::end_session(Instant now, const SessionKey& key, const Identity& told, SessionEndReason reason) {
  const Identity whom = told;
  remove_session(key, reason);
  send_to(now, whom, SessionEnd{key.session, reason});
}

void SignalHub::Impl::handle(Instant now, WallTime, HubChannel& from, SessionEnd& message) {
  const SessionKey key{from.identity.site, message.session};
  if (const HubSession* session = find_session(key, from.identity)) {
    end_session(now, key, session->other_end(from.identity), SessionEndReason::kClosed);
  }
}

void SignalHub::Impl::handle_session_due(Instant now, const SessionKey& key) {
  HubSession& session = *sessions.find(key);
  const Identity client = session.client;
  const Identity gateway = session.gateway;
  if (!session.accepted) {
    remove_session(key, SessionEndReason::kPeerGone);
    return send_to(now, client, OfferRejection{key.session, RefusalReason::kGatewayOffline});
  }
  remove_session(key, SessionEndReason::kPeerGone);
  send_to(now, client, SessionEnd{key.session, SessionEndReason::kPeerGone});
  send_to(now, gateway, SessionEnd{key.session, SessionEndReason::kPeerGone});
}

void SignalHub::Impl::request_relay(const SessionKey& key, const HubSession& session, RelayTransport transport,
                                    Role requester) {
  events.push_back(RelayRequested{.key = key,
                                  .client = session.client,
                                  .gateway = session.gateway,
                                  .transport = transport,
                                  .requester = requester == Role::kClient ? session.client : session.gateway});
}

void SignalHub::Impl::handle(Instant now, WallTime, HubChannel& from, RelayRequest& message) {
  const SessionKey key{from.identity.site, message.session};
  HubSession* session = find_session(key, from.identity);
  if (session == nullptr) {
    return send(now, from, RelayRefusal{message.session, message.transport, RefusalReason::kInvalid});
  }
  if (session->accepted) return request_relay(key, *session, message.transport, from.identity.role);
  session->relay_wanted.emplace(message.transport, from.identity.role);
}

void SignalHub::Impl::handle(Instant, WallTime, HubChannel& from, RelayRenewal& message) {
  const SessionKey key{from.identity.site, message.session};
  const HubSession* session = sessions.find(key);
  if (session != nullptr && (!session->has_end(from.identity) || !session->accepted)) {
    ++stats.stray_messages;
    return;
  }
  events.push_back(RelayRenewalRequested{.key = key,
                                         .known = session != nullptr,
                                         .client = session != nullptr ? session->client : Identity{},
                                         .gateway = session != nullptr ? session->gateway : Identity{},
                                         .transport = message.transport,
                                         .requester = from.identity,
                                         .sealed = std::move(message.sealed)});
}

void SignalHub::Impl::handle(Instant, WallTime, HubChannel& from, StunCredentialsRequest&) {
  events.push_back(StunCredentialsWanted{from.id, from.identity, from.remote});
}

void SignalHub::Impl::handle(Instant, WallTime, HubChannel& from, RosterAck& message) {
  events.push_back(RosterAcknowledged{from.identity, message.number});
}

void SignalHub::Impl::handle(Instant, WallTime, HubChannel& from, KeyRenewal& message) {
  events.push_back(KeyRenewalReceived{from.id, from.identity, std::move(message.payload)});
}

void SignalHub::Impl::handle(Instant now, WallTime wall_now, HubChannel& from, Ping& message) {
  send(now, from, Pong{message.id, wall_now});
}

void SignalHub::Impl::handle(Instant, WallTime, HubChannel& from, SessionReport& message) {
  if (message.gateway.site != from.identity.site) {
    ++stats.stray_messages;
    return;
  }
  if (from.reported.size() < HubChannel::kMaxReported) from.reported.insert(message.gateway);
  events.push_back(SessionReported{.key = {from.identity.site, message.session},
                                   .client = from.identity,
                                   .gateway = std::move(message.gateway),
                                   .type = message.type,
                                   .reason = message.reason,
                                   .ended = message.ended});
}

}  // namespace natt
