// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/relay/tcp_relay_impl.h"

namespace natt {

using relay::TokenFate;
using relay::TokenTable;

std::optional<TokenTable::Place> TcpRelay::Impl::accept_token(const Identity& identity, const TcpRelayToken& token) {
  const auto place = tokens.find(token);
  if (!place) {
    refuse_token(token);
    return std::nullopt;
  }
  const Identity& owner = sessions.at(place->session).end(place->side);
  if (owner == identity) return place;
  ++stats.wrong_identity;
  options.log(LogLevel::kWarning,
              fmt::format("natt.relay.wrong_token device={} owner={}", identity.uri(), owner.uri()));
  return std::nullopt;
}

void TcpRelay::Impl::refuse_token(const TcpRelayToken& token) {
  const auto fate = tokens.fate_of(token);
  if (!fate) {
    ++stats.unknown_token;
    return;
  }
  switch (*fate) {
    case TokenFate::kUsed: ++stats.used_token; break;
    case TokenFate::kExpired: ++stats.expired_token; break;
    case TokenFate::kRevoked: ++stats.revoked_token; break;
    case TokenFate::kReplaced: ++stats.replaced_token; break;
  }
}

bool TcpRelay::Impl::read_confirmation(TcpLegId id, Leg& leg, ByteView& bytes) {
  while (leg.confirmed < kRelayJoinConfirmation.size() && !bytes.empty()) {
    if (bytes.front() != kRelayJoinConfirmation[leg.confirmed]) {
      ++stats.unconfirmed;
      drop_leg(id);
      return false;
    }
    ++leg.confirmed;
    bytes = bytes.subspan(1);
  }
  return true;
}

void TcpRelay::Impl::handle_confirmed(Instant now, TcpLegId id, Leg& leg) {
  const std::uint64_t number = leg.session;
  Session& session = sessions.at(number);
  Side& side = session.side(leg.side);
  std::erase(side.attempts, id);
  // Several tokens stand for one place, and it is taken now.
  end_tokens(now, side, TokenFate::kUsed);
  // Joined with tokens of before, which its end has asked anew for.
  if (side.joined) ++stats.left_alone;
  drop_joined(side);
  side.joined = id;
  ++stats.legs_joined;
  if (session.sides[0].joined && session.sides[1].joined) pair(now, number, session);
}

TcpRelay::TcpRelay(TcpRelayOptions options, RelayAccounts& accounts, Random& random)
    : impl_(std::make_unique<Impl>(options, accounts, random)) {}
TcpRelay::~TcpRelay() = default;

Result<TcpRelayTokens> TcpRelay::issue(Instant now, const Identity& client, const Identity& gateway,
                                       const RelaySessionId& session) {
  handle_timeout(now);
  const auto number = impl_->session_for(client, gateway, session);
  if (!number) return tl::unexpected(number.error());
  Impl::Session& entry = impl_->sessions.at(*number);
  impl_->renew(now, *number, entry, RelaySide::kClient);
  impl_->renew(now, *number, entry, RelaySide::kGateway);
  entry.deadline = now + kTcpRelayTokenLifetime;
  entry.issued = now;
  impl_->arm(*number, entry);
  return TcpRelayTokens{.client = entry.sides[0].tokens.back().token, .gateway = entry.sides[1].tokens.back().token};
}

Result<TcpRelayAnswer> TcpRelay::handle_request(Instant now, const Identity& client, const Identity& gateway,
                                                const RelaySessionId& session, RelaySide requester) {
  handle_timeout(now);
  const bool by_client = requester == RelaySide::kClient;
  const Impl::Session* known = impl_->find_session(client, gateway, session);
  if (!impl_->may_issue(now, known, by_client ? client : gateway)) {
    ++impl_->stats.rate_limited;
    const auto again = known == nullptr ? std::nullopt : Impl::newest(now, known->sides[by_client ? 0 : 1]);
    if (!again) return fail(Errc::kUnavailable, "tokens were asked for too often");
    return by_client ? TcpRelayAnswer{.client = again, .gateway = {}} : TcpRelayAnswer{.client = {}, .gateway = again};
  }
  const auto tokens = issue(now, client, gateway, session);
  if (!tokens) return tl::unexpected(tokens.error());
  return TcpRelayAnswer{.client = TcpRelayTicket{tokens->client, kTcpRelayTokenLifetime},
                        .gateway = TcpRelayTicket{tokens->gateway, kTcpRelayTokenLifetime}};
}

bool TcpRelay::handle_join(Instant now, TcpLegId leg, const Identity& identity, const SocketAddress& remote,
                           const TcpRelayToken& token) {
  handle_timeout(now);
  const auto place = impl_->accept_token(identity, token);
  if (!place) return false;
  Impl::Side& side = impl_->sessions.at(place->session).side(place->side);
  if (side.attempts.size() >= kMaxAttempts) {
    ++impl_->stats.unconfirmed;
    impl_->drop_leg(side.attempts.front());
  }
  if (impl_->legs.size() >= impl_->options.max_unpaired) {
    ++impl_->stats.crowded;
    return false;
  }
  side.attempts.push_back(leg);
  impl_->legs.emplace(leg, Impl::Leg{.session = place->session, .side = place->side,
                                       .token = token, .remote = remote, .early = {}});
  return true;
}

bool TcpRelay::handle_bytes(Instant now, TcpLegId leg, ByteView bytes) {
  handle_timeout(now);
  const auto found = impl_->legs.find(leg);
  if (found == impl_->legs.end()) return false;
  Impl::Leg& entry = found->second;
  const bool was_confirmed = entry.confirmed == kRelayJoinConfirmation.size();
  if (!impl_->read_confirmation(leg, entry, bytes)) return false;
  if (entry.early.size() + bytes.size() > kMaxEarlyBytes) {
    ++impl_->stats.crowded;
    impl_->drop_leg(leg);
    return false;
  }
  entry.early.insert(entry.early.end(), bytes.begin(), bytes.end());
  const bool goes_on = entry.early.size() < kMaxEarlyBytes;
  if (!was_confirmed && entry.confirmed == kRelayJoinConfirmation.size()) impl_->handle_confirmed(now, leg, entry);
  return goes_on && impl_->legs.contains(leg);
}

std::size_t TcpRelay::room_of(TcpLegId leg) const {
  const auto found = impl_->legs.find(leg);
  return found == impl_->legs.end() ? 0 : kMaxEarlyBytes - found->second.early.size();
}

void TcpRelay::handle_disconnected(Instant now, TcpLegId leg) {
  handle_timeout(now);
  const auto found = impl_->legs.find(leg);
  if (found == impl_->legs.end()) return;
  Impl::Side& side = impl_->sessions.at(found->second.session).side(found->second.side);
  const bool joined = side.joined == leg;
  ++(joined ? impl_->stats.left_early : impl_->stats.unconfirmed);
  if (joined) side.joined.reset();
  std::erase(side.attempts, leg);
  impl_->legs.erase(found);
}

void TcpRelay::handle_forwarded(TcpPairId pair, RelaySide from, std::uint64_t octets) {
  Impl::Session* session = impl_->find_pair(pair);
  if (session == nullptr) return;
  session->pair->octets[static_cast<std::size_t>(from)] += octets;
  impl_->stats.bytes_forwarded += octets;
  impl_->accounts.count(octets);
}

std::size_t TcpRelay::take_allowance(Instant now, TcpPairId pair, std::size_t wanted) {
  // Down to a packet's worth: a slow pair gets it often instead of much at a time.
  constexpr std::size_t kLeast = 1500;
  const Impl::Session* session = impl_->find_pair(pair);
  if (session == nullptr) return 0;
  for (std::size_t octets = wanted; octets > 0; octets = octets > kLeast ? std::max(octets / 4, kLeast) : 0) {
    if (impl_->accounts.take(now, session->seat, octets)) return octets;
  }
  ++impl_->stats.over_rate;
  return 0;
}

void TcpRelay::give_back(TcpPairId pair, std::size_t octets) {
  if (const Impl::Session* session = impl_->find_pair(pair)) impl_->accounts.give_back(session->seat, octets);
}

std::optional<Instant> TcpRelay::next_deadline() const {
  return earlier(impl_->deadlines.next(), impl_->accounts.next_sample());
}

std::optional<TcpRelayEvent> TcpRelay::poll_event() {
  std::optional<TcpRelayEvent> event;
  if (impl_->events.empty()) return event;
  event.emplace(std::move(impl_->events.front()));
  impl_->events.pop_front();
  return event;
}

const TcpRelayStats& TcpRelay::stats() const { return impl_->stats; }

std::size_t TcpRelay::unpaired() const { return impl_->legs.size(); }

std::vector<RelaySessionReport> TcpRelay::sessions() const {
  std::vector<RelaySessionReport> reports;
  for (const auto& [number, session] : impl_->sessions) {
    if (!session.pair) continue;
    const Impl::Pair& pair = *session.pair;
    reports.push_back({.session = session.id,
                       .client = session.client,
                       .gateway = session.gateway,
                       .client_address = pair.addresses[0],
                       .gateway_address = pair.addresses[1],
                       .bytes_from_client = pair.octets[0],
                       .bytes_from_gateway = pair.octets[1],
                       .packets_from_client = 0,
                       .packets_from_gateway = 0,
                       .since = pair.since,
                       .transport = RelayTransport::kTcp});
  }
  return reports;
}

}  // namespace natt
