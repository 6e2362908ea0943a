// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_hub.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/signal/message_roles.h"
#include "src/signal/signal_hub_impl.h"

namespace natt {
namespace {

// Ended channels whose last output the driver has not asked for.
constexpr std::size_t kMaxLastWords = 1024;

}  // namespace

SignalHub::Impl::Impl(SignalHubOptions given, Random& randomness)
    : options(given), random(randomness), sessions(given.max_sessions, given.max_sessions_per_client) {}

HubChannel* SignalHub::Impl::find(ChannelId id) {
  const auto at = channels.find(id);
  return at == channels.end() ? nullptr : at->second.get();
}

HubChannel* SignalHub::Impl::find_open(const Identity& identity) {
  const auto id = presence.channel_of(identity);
  return id ? find(*id) : nullptr;
}

void SignalHub::Impl::set_deadline(HubChannel& channel, Instant deadline) {
  deadlines.erase({channel.deadline, channel.id});
  channel.deadline = deadline;
  deadlines.emplace(deadline, channel.id);
}

bool SignalHub::Impl::admit(Instant now, WallTime wall_now, ChannelId id, const Identity& identity,
                            const SocketAddress& remote) {
  const auto site = sites.find(identity.site);
  const auto under_way = handshakes.find(identity);
  const bool busy = under_way != handshakes.end() && under_way->second >= options.max_handshakes_per_identity;
  if (draining || busy || channels.size() >= options.max_channels || site == sites.end() ||
      identity.role == Role::kBroker || channels.contains(id)) {
    ++stats.handshakes_refused;
    return false;
  }
  const PeerExpectation expectation{.site = identity.site, .role = identity.role, .identity = identity};
  auto tls = TlsStream::accept(*site->second.tls, expectation, wall_now);
  if (!tls) return false;
  ++handshakes[identity];
  ++stats.handshakes_started;
  auto channel = std::unique_ptr<HubChannel>(
      new HubChannel{.id = id,
                     .identity = identity,
                     .remote = remote,
                     .site = &site->second,
                     .stream = MessageChannel(std::move(*tls), options.max_send_queue),
                     .messages = TokenBucket(options.messages_per_second, options.message_burst),
                     .last_heard = now});
  set_deadline(*channel, now + options.handshake_timeout);
  channels.emplace(id, std::move(channel));
  return true;
}

void SignalHub::Impl::handle_bytes(Instant now, WallTime wall_now, ChannelId id, ByteView bytes) {
  HubChannel* channel = find(id);
  if (channel == nullptr || bytes.empty()) return;
  channel->last_heard = now;
  channel->stream.handle_bytes(bytes);
  if (channel->state == HubChannel::State::kHandshaking) advance_handshake(now, *channel);
  read_messages(now, wall_now, id);
  if (!check_tls_end(now, id)) return;
  mark_writable(*find(id));
}

void SignalHub::Impl::advance_handshake(Instant now, HubChannel& channel) {
  if (channel.stream.tls_state() != TlsStream::State::kOpen) return;
  const PeerCertificate& peer = *channel.stream.peer();
  const Roster* roster = channel.site->roster->roster();
  auto admitted = roster != nullptr ? roster->admits(peer.identity(), peer.serial())
                                    : Result<void>(fail(Errc::kUnavailable, "this broker has no roster yet"));
  if (!admitted) {
    ++stats.handshakes_failed;
    return end_channel(now, channel.id, LogLevel::kWarning, std::move(admitted.error()));
  }
  channel.serial = peer.serial();
  channel.state = HubChannel::State::kGreeting;
}

bool SignalHub::Impl::check_tls_end(Instant now, ChannelId id) {
  HubChannel* channel = find(id);
  if (channel == nullptr) return false;
  switch (channel->stream.tls_state()) {
    case TlsStream::State::kHandshaking:
    case TlsStream::State::kOpen: return true;
    case TlsStream::State::kClosed:
      end_channel(now, id, LogLevel::kInfo, {Errc::kClosed, "closed by the peer"});
      return false;
    case TlsStream::State::kFailed:
      if (channel->is_handshaking()) ++stats.handshakes_failed;
      end_channel(now, id, LogLevel::kWarning, channel->stream.tls_error());
      return false;
  }
  return false;
}

void SignalHub::Impl::read_messages(Instant now, WallTime wall_now, ChannelId id) {
  while (HubChannel* channel = find(id)) {
    if (channel->state == HubChannel::State::kHandshaking) return;
    const std::uint64_t ignored = channel->stream.ignored();
    auto message = channel->stream.next_message();
    stats.messages_ignored += channel->stream.ignored() - ignored;
    if (!message) return end_for_protocol(now, id, std::move(message.error().message));
    if (!*message) return;
    ++stats.messages_in;
    if (!channel->messages.take(now, 1)) return end_for_protocol(now, id, "too many messages");
    handle_message(now, wall_now, *channel, std::move(**message));
  }
}

void SignalHub::Impl::end_for_protocol(Instant now, ChannelId id, std::string sentence) {
  ++stats.protocol_errors;
  end_channel(now, id, LogLevel::kWarning, {Errc::kMalformed, std::move(sentence)});
}

void SignalHub::Impl::keep_last_words(ChannelId id, ByteBuffer output) {
  if (output.empty()) return;
  if (last_words.size() >= kMaxLastWords) last_words.erase(last_words.begin());
  last_words.emplace(id, std::move(output));
}

void SignalHub::Impl::end_channel(Instant now, ChannelId id, LogLevel level, Error reason) {
  const auto at = channels.find(id);
  if (at == channels.end()) return;
  const std::unique_ptr<HubChannel> channel = std::move(at->second);
  channels.erase(at);
  deadlines.erase({channel->deadline, id});
  if (channel->is_handshaking()) {
    const auto own = handshakes.find(channel->identity);
    if (--own->second == 0) handshakes.erase(own);
  }
  channel->stream.close();
  keep_last_words(id, channel->stream.take_output());
  options.log(level, fmt::format("natt.signal.channel_ended device={} remote={} reason=\"{}\"", channel->identity.uri(),
                                 channel->remote.to_string(), reason.message));
  const bool broke_off = reason.code == make_error_code(Errc::kClosed);
  events.push_back(ChannelClosed{id, channel->identity, std::move(reason)});
  if (channel->is_handshaking()) return;
  depart(now, *channel);
  if (broke_off) announce_absence(now, *channel);
}

void SignalHub::Impl::depart(Instant now, const HubChannel& channel) {
  if (!presence.leave(channel.identity, channel.id)) return;
  for (const SessionKey& key : sessions.sessions_of(channel.identity)) {
    HubSession* session = sessions.find(key);
    if (session == nullptr) continue;
    if (!session->accepted) {
      handle_session_due(now, key);
    } else if (!session->deadline) {
      sessions.set_deadline(key, *session, now + options.session_grace);
    }
  }
  if (channel.identity.role == Role::kGateway) announce_gateway(now, {channel.identity, false, {}});
}

// Only when the connection itself ended: a device that sleeps goes quiet, and keeps its tunnels.
void SignalHub::Impl::announce_absence(Instant now, const HubChannel& channel) {
  if (channel.identity.role != Role::kClient || presence.channel_of(channel.identity)) return;
  for (const Identity& gateway : channel.reported) send_to(now, gateway, PeerAbsent{channel.identity});
}

void SignalHub::Impl::send(Instant now, HubChannel& channel, const SignalMessage& message) {
  const auto sent = channel.stream.send(message);
  if (!sent) {
    ++stats.slow_peers;
    return end_channel(now, channel.id, LogLevel::kWarning, sent.error());
  }
  ++stats.messages_out;
  mark_writable(channel);
}

void SignalHub::Impl::send_to(Instant now, const Identity& identity, const SignalMessage& message) {
  if (HubChannel* channel = find_open(identity)) send(now, *channel, message);
}

void SignalHub::Impl::mark_writable(HubChannel& channel) {
  if (channel.announced_writable || channel.stream.pending_output() == 0) return;
  channel.announced_writable = true;
  writable.push_back(channel.id);
}

void SignalHub::Impl::handle_channel_due(Instant now, ChannelId id) {
  HubChannel& channel = *find(id);
  if (channel.is_handshaking()) {
    ++stats.handshakes_failed;
    return end_channel(now, id, LogLevel::kInfo, {Errc::kTimeout, "the handshake was not finished in time"});
  }
  const Instant quiet_until = channel.last_heard + options.idle_timeout;
  if (now < quiet_until) return set_deadline(channel, quiet_until);
  end_channel(now, id, LogLevel::kInfo, {Errc::kTimeout, "nothing was heard of the peer"});
}

void SignalHub::Impl::handle_timeout(Instant now) {
  while (!deadlines.empty() && deadlines.begin()->first <= now) handle_channel_due(now, deadlines.begin()->second);
  while (const auto key = sessions.next_due(now)) handle_session_due(now, *key);
  std::erase_if(last_offers, [&](const auto& entry) { return now - entry.second >= options.offer_interval; });
  if (!drain_until || now < *drain_until) return;
  drain_until.reset();
  while (!channels.empty()) {
    end_channel(now, channels.begin()->first, LogLevel::kInfo, {Errc::kClosed, "this broker is shutting down"});
  }
}

std::optional<Instant> SignalHub::Impl::next_deadline() const {
  std::optional<Instant> next = earlier(sessions.next_deadline(), drain_until);
  if (!deadlines.empty()) next = earlier(next, deadlines.begin()->first);
  return next;
}

SignalHub::SignalHub(SignalHubOptions options, Random& random) : impl_(std::make_unique<Impl>(options, random)) {}
SignalHub::~SignalHub() = default;

void SignalHub::add_site(const SignalHubSite& site) { impl_->sites.emplace(site.site, site); }

void SignalHub::set_site_tls(const std::string& site, const TlsContext& tls) {
  if (const auto found = impl_->sites.find(site); found != impl_->sites.end()) found->second.tls = &tls;
}

bool SignalHub::handle_admitted(Instant now, WallTime wall_now, ChannelId channel, const Identity& identity,
                                const SocketAddress& remote, ByteView record, ByteView rest) {
  if (!impl_->admit(now, wall_now, channel, identity, remote)) return false;
  impl_->handle_bytes(now, wall_now, channel, record);
  impl_->handle_bytes(now, wall_now, channel, rest);
  return true;
}

void SignalHub::handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes) {
  impl_->handle_bytes(now, wall_now, channel, bytes);
}

void SignalHub::handle_disconnected(Instant now, ChannelId channel) {
  impl_->end_channel(now, channel, LogLevel::kInfo, {Errc::kClosed, "the connection ended"});
  impl_->last_words.erase(channel);
}

void SignalHub::handle_timeout(Instant now) { impl_->handle_timeout(now); }
std::optional<Instant> SignalHub::next_deadline() const { return impl_->next_deadline(); }

std::optional<ChannelId> SignalHub::poll_writable() {
  while (!impl_->writable.empty()) {
    const ChannelId id = impl_->writable.front();
    impl_->writable.pop_front();
    if (impl_->find(id) != nullptr) return id;
  }
  return std::nullopt;
}

ByteBuffer SignalHub::take_output(ChannelId channel) {
  HubChannel* found = impl_->find(channel);
  if (found == nullptr) {
    const auto last = impl_->last_words.extract(channel);
    return last.empty() ? ByteBuffer() : std::move(last.mapped());
  }
  ByteBuffer output = found->stream.take_output();
  found->announced_writable = false;
  // Nothing leaves here but pieces of the roster, for which there is room now; they never end the channel.
  if (found->push.active()) impl_->pump_push(found->last_heard, channel);
  return output;
}

std::optional<HubEvent> SignalHub::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  HubEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

void SignalHub::handle_roster_change(Instant now, const std::string& site, const RosterChange& change) {
  impl_->handle_roster_change(now, site, change);
}

void SignalHub::grant_relay(Instant now, const SessionKey& key, const Identity& end, const RelayGrantMessage& grant) {
  if (end.site == key.site) impl_->send_to(now, end, grant);
}

void SignalHub::refuse_relay(Instant now, const SessionKey& key, const Identity& end, RelayTransport transport,
                             RefusalReason reason) {
  if (end.site == key.site) impl_->send_to(now, end, RelayRefusal{key.session, transport, reason});
}

void SignalHub::restore_session(Instant now, const SessionKey& key, const Identity& client, const Identity& gateway) {
  HubSession session{.client = client, .gateway = gateway, .accepted = true, .deadline = {}, .relay_wanted = {}};
  if (!is_online(client) || !is_online(gateway)) session.deadline = now + impl_->options.session_grace;
  static_cast<void>(impl_->sessions.add(key, std::move(session)));
}

void SignalHub::send_stun_credentials(Instant now, ChannelId channel, const StunCredentials& credentials) {
  HubChannel* found = impl_->find(channel);
  if (found != nullptr && !found->is_handshaking()) impl_->send(now, *found, credentials);
}

void SignalHub::send_key_renewal(Instant now, ChannelId channel, const KeyRenewal& renewal) {
  HubChannel* found = impl_->find(channel);
  if (found != nullptr && !found->is_handshaking()) impl_->send(now, *found, renewal);
}

void SignalHub::drain(Instant now, std::chrono::milliseconds within) {
  impl_->draining = true;
  impl_->drain_until = now + within;
  for (const auto& [name, site] : impl_->sites) {
    for (const ChannelId id : impl_->presence.channels(name, std::nullopt)) {
      if (HubChannel* channel = impl_->find(id)) impl_->send(now, *channel, DrainNotice{within});
    }
  }
}

bool SignalHub::is_drained() const { return impl_->draining && impl_->channels.empty(); }
bool SignalHub::is_online(const Identity& identity) const { return impl_->presence.channel_of(identity).has_value(); }
std::size_t SignalHub::channel_count() const { return impl_->channels.size(); }
std::size_t SignalHub::session_count() const { return impl_->sessions.size(); }
const SignalHubStats& SignalHub::stats() const { return impl_->stats; }

}  // namespace natt
