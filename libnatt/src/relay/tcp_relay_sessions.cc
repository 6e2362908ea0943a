// SPDX-License-Identifier: Apache-2.0

// How sessions relayed over TCP begin and end: seats, tokens, pairs (natt/tcp_relay.h).

#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/relay/tcp_relay_impl.h"

namespace natt {

using relay::TokenFate;

Result<std::uint64_t> TcpRelay::Impl::session_for(const Identity& client, const Identity& gateway,
                                                  const RelaySessionId& id) {
  if (client.site != gateway.site || client.role != Role::kClient || gateway.role != Role::kGateway) {
    return fail(Errc::kMalformed, "a relayed session is between a client and a gateway of one site");
  }
  const Key key{client.site, id};
  if (const auto known = by_id.find(key); known != by_id.end()) {
    const Session& session = sessions.at(known->second);
    if (session.client == client && session.gateway == gateway) return known->second;
    return fail(Errc::kWrongIdentity, "the session is of other devices");
  }
  const auto seat = accounts.take_seat(client);
  if (!seat) return fail(Errc::kLimit, "a quota of relayed sessions is used up");
  const std::uint64_t number = next_session++;
  sessions.emplace(number, Session{.id = id, .client = client, .gateway = gateway, .seat = *seat, .sides = {},
                                   .deadline = {}, .pair = {}});
  by_id.emplace(key, number);
  return number;
}

void TcpRelay::Impl::renew(Instant now, std::uint64_t number, Session& session, RelaySide which) {
  Side& side = session.side(which);
  if (side.tokens.size() >= kMaxTokens) end_oldest(now, side, TokenFate::kReplaced);
  side.tokens.push_back({tokens.issue({.session = number, .side = which}), now + kTcpRelayTokenLifetime});
  ++stats.tokens_issued;
}

void TcpRelay::Impl::arm(std::uint64_t number, const Session& session) {
  std::optional<Instant> next = session.deadline;
  for (const Side& side : session.sides) {
    if (!side.tokens.empty()) next = earlier(next, side.tokens.front().until);
  }
  deadlines.set(number, next);
}

bool TcpRelay::Impl::may_issue(Instant now, const Session* session, const Identity& requester) {
  if (session != nullptr && now - session->issued < options.issue_interval) return false;
  return requests.take(now, requester);
}

std::optional<TcpRelayTicket> TcpRelay::Impl::newest(Instant now, const Side& side) {
  if (side.tokens.empty()) return std::nullopt;
  return TcpRelayTicket{.token = side.tokens.back().token, .left = side.tokens.back().until - now};
}

TcpRelay::Impl::Session* TcpRelay::Impl::find_session(const Identity& client, const Identity& gateway,
                                                      const RelaySessionId& id) {
  const auto known = by_id.find({client.site, id});
  if (known == by_id.end()) return nullptr;
  Session& session = sessions.at(known->second);
  return session.client == client && session.gateway == gateway ? &session : nullptr;
}

void TcpRelay::Impl::pair(Instant now, std::uint64_t number, Session& session) {
  // The ends would not have joined anew if the pair of before were any good to them.
  if (session.pair) {
    const TcpPairId former = session.pair->id;
    end_pair(session, RelayCloseReason::kPeerClosed);
    events.push_back(TcpRelayPairEnded{former});
  }
  session.deadline.reset();
  deadlines.set(number, std::nullopt);
  for (Side& side : session.sides) end_tokens(now, side, TokenFate::kReplaced);
  const TcpPairId id{next_pair++};
  TcpRelayPaired paired{.pair = id,
                        .client = *session.sides[0].joined,
                        .gateway = *session.sides[1].joined,
                        .early_from_client = {},
                        .early_from_gateway = {}};
  session.pair = Pair{.id = id,
                      .addresses = {legs.at(paired.client).remote, legs.at(paired.gateway).remote},
                      .octets = {},
                      .since = now};
  pairs.emplace(id, number);
  paired.early_from_client = take_leg(session, RelaySide::kClient);
  paired.early_from_gateway = take_leg(session, RelaySide::kGateway);
  events.emplace_back(std::move(paired));
  ++stats.pairs_opened;
  accounts.begin(now);
  if (!options.log.enabled(LogLevel::kInfo)) return;
  options.log(LogLevel::kInfo, fmt::format("natt.relay.session client={} gateway={} transport=tcp",
                                           session.client.uri(), session.gateway.uri()));
}

ByteBuffer TcpRelay::Impl::take_leg(Session& session, RelaySide which) {
  const auto leg = legs.find(*std::exchange(session.side(which).joined, std::nullopt));
  ByteBuffer early = std::move(leg->second.early);
  legs.erase(leg);
  return early;
}

void TcpRelay::Impl::drop_leg(TcpLegId id) {
  const auto leg = legs.find(id);
  Side& side = sessions.at(leg->second.session).side(leg->second.side);
  std::erase(side.attempts, id);
  if (side.joined == id) side.joined.reset();
  legs.erase(leg);
  events.push_back(TcpRelayLegDropped{id});
}

void TcpRelay::Impl::end_oldest(Instant now, Side& side, TokenFate fate) {
  const TcpRelayToken token = side.tokens.front().token;
  side.tokens.erase(side.tokens.begin());
  tokens.retire(now, token, fate);
  const std::vector<TcpLegId> attempts = side.attempts;
  for (const TcpLegId id : attempts) {
    if (legs.at(id).token != token) continue;
    ++stats.unconfirmed;
    drop_leg(id);
  }
}

void TcpRelay::Impl::end_tokens(Instant now, Side& side, TokenFate fate) {
  while (!side.tokens.empty()) end_oldest(now, side, fate);
}

void TcpRelay::Impl::drop_joined(Side& side) {
  if (side.joined) drop_leg(*side.joined);
}

void TcpRelay::Impl::end_waiting(Instant now, Session& session, TokenFate fate) {
  for (Side& side : session.sides) {
    end_tokens(now, side, fate);
    if (side.joined && fate == TokenFate::kExpired) ++stats.left_alone;
    drop_joined(side);
  }
}

void TcpRelay::Impl::end_pair(Session& session, RelayCloseReason reason) {
  const Pair& pair = *session.pair;
  if (options.log.enabled(LogLevel::kInfo)) {
    options.log(LogLevel::kInfo,
                fmt::format("natt.relay.session_end client={} gateway={} transport=tcp reason={} bytes_from_client={} "
                            "bytes_from_gateway={}",
                            session.client.uri(), session.gateway.uri(), to_string(reason), pair.octets[0],
                            pair.octets[1]));
  }
  pairs.erase(pair.id);
  session.pair.reset();
  accounts.end();
  ++stats.pairs_closed;
}

void TcpRelay::Impl::end_session(Instant now, std::uint64_t number, TokenFate fate, RelayCloseReason reason) {
  Session& session = sessions.at(number);
  end_waiting(now, session, fate);
  if (session.pair) {
    events.push_back(TcpRelayPairEnded{session.pair->id});
    end_pair(session, reason);
  }
  forget(number);
}

void TcpRelay::Impl::forget(std::uint64_t number) {
  const auto session = sessions.find(number);
  deadlines.set(number, std::nullopt);
  accounts.give_seat_back(session->second.seat);
  by_id.erase({session->second.client.site, session->second.id});
  sessions.erase(session);
}

TcpRelay::Impl::Session* TcpRelay::Impl::find_pair(TcpPairId pair) {
  const auto number = pairs.find(pair);
  return number == pairs.end() ? nullptr : &sessions.at(number->second);
}

void TcpRelay::handle_pair_ended(Instant, TcpPairId pair) {
  const auto number = impl_->pairs.find(pair);
  if (number == impl_->pairs.end()) return;
  const std::uint64_t index = number->second;
  Impl::Session& session = impl_->sessions.at(index);
  impl_->end_pair(session, RelayCloseReason::kPeerClosed);
  if (!session.deadline) impl_->forget(index);
}

std::size_t TcpRelay::revoke(Instant now, const Identity& identity) {
  std::vector<std::uint64_t> ending;
  std::size_t count = 0;
  for (const auto& [number, session] : impl_->sessions) {
    if (session.client != identity && session.gateway != identity) continue;
    ending.push_back(number);
    count += session.pair ? 1U : 0U;
  }
  for (const std::uint64_t number : ending) {
    impl_->end_session(now, number, TokenFate::kRevoked, RelayCloseReason::kRevoked);
  }
  return count;
}

bool TcpRelay::end_session(Instant now, const std::string& site, const RelaySessionId& session) {
  const auto found = impl_->by_id.find({site, session});
  if (found == impl_->by_id.end()) return false;
  impl_->end_session(now, found->second, TokenFate::kRevoked, RelayCloseReason::kPeerClosed);
  return true;
}

void TcpRelay::Impl::handle_due(Instant now, std::uint64_t number) {
  Session& session = sessions.at(number);
  for (Side& side : session.sides) {
    while (!side.tokens.empty() && side.tokens.front().until <= now) end_oldest(now, side, TokenFate::kExpired);
  }
  if (!session.deadline || now < *session.deadline) return arm(number, session);
  session.deadline.reset();
  end_waiting(now, session, TokenFate::kExpired);
  if (!session.pair) forget(number);
}

void TcpRelay::handle_timeout(Instant now) {
  impl_->accounts.sample(now);
  while (const auto due = impl_->deadlines.take_due(now)) {
    impl_->handle_due(now, *due);
  }
}

}  // namespace natt
