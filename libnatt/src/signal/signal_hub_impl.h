// SPDX-License-Identifier: Apache-2.0
#pragma once

// The hub's parts: connections and their ends (signal_hub.cc), what messages mean
// (hub_messages.cc), rosters and revocation (hub_roster.cc). Internal to libnatt.
//
// Ending a channel removes it from the table at once. So whoever calls anything that can
// send looks the channel up again before it uses it further.

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include <natt/signal_hub.h>

#include "src/signal/hub_channel.h"
#include "src/signal/hub_presence.h"
#include "src/signal/session_registry.h"

namespace natt {

struct SignalHub::Impl {
  Impl(SignalHubOptions given, Random& randomness);

  // Connections (signal_hub.cc).
  [[nodiscard]] bool admit(Instant now, WallTime wall_now, ChannelId id, const Identity& identity,
                           const SocketAddress& remote);
  [[nodiscard]] HubChannel* find(ChannelId id);
  [[nodiscard]] HubChannel* find_open(const Identity& identity);
  void handle_bytes(Instant now, WallTime wall_now, ChannelId id, ByteView bytes);
  void advance_handshake(Instant now, HubChannel& channel);
  void read_messages(Instant now, WallTime wall_now, ChannelId id);
  // False when the channel is no longer there.
  [[nodiscard]] bool check_tls_end(Instant now, ChannelId id);
  void end_channel(Instant now, ChannelId id, LogLevel level, Error reason);
  void end_for_protocol(Instant now, ChannelId id, std::string sentence);
  void depart(Instant now, const HubChannel& channel);
  void announce_absence(Instant now, const HubChannel& channel);
  // Ends the channel when its queue is full.
  void send(Instant now, HubChannel& channel, const SignalMessage& message);
  void send_to(Instant now, const Identity& identity, const SignalMessage& message);
  void mark_writable(HubChannel& channel);
  void keep_last_words(ChannelId id, ByteBuffer output);
  void set_deadline(HubChannel& channel, Instant deadline);
  void handle_channel_due(Instant now, ChannelId id);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // Messages (hub_messages.cc).
  void handle_message(Instant now, WallTime wall_now, HubChannel& from, SignalMessage message);
  void handle_hello(Instant now, WallTime wall_now, HubChannel& from, const SignalHello& hello);
  void open_channel(Instant now, ChannelId id, const SignalHello& hello);
  void send_directory(Instant now, HubChannel& to);
  void announce_gateway(Instant now, const GatewayEntry& entry);
  void handle(Instant now, WallTime wall_now, HubChannel& from, GatewayRegistration& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, OfferMessage& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, AnswerMessage& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, CandidateBatch& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, SessionEnd& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, RelayRequest& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, RelayRenewal& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, StunCredentialsRequest& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, RosterAck& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, KeyRenewal& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, Ping& message);
  void handle(Instant now, WallTime wall_now, HubChannel& from, SessionReport& message);
  [[nodiscard]] std::optional<RefusalReason> accept_offer(Instant now, const HubChannel& from,
                                                          const OfferMessage& message);
  void accept_session(Instant now, WallTime wall_now, const SessionKey& key, HubSession& session);
  void request_relay(const SessionKey& key, const HubSession& session, RelayTransport transport, Role requester);
  [[nodiscard]] std::vector<IpAddress> vouched(Instant now, const Identity& device) const;
  // The session, when `end` is one of its ends; counts strays.
  [[nodiscard]] HubSession* find_session(const SessionKey& key, const Identity& end);
  void remove_session(const SessionKey& key, SessionEndReason reason);
  void end_session(Instant now, const SessionKey& key, const Identity& told, SessionEndReason reason);
  void handle_session_due(Instant now, const SessionKey& key);

  // Rosters (hub_roster.cc).
  void start_push(Instant now, HubChannel& channel);
  void pump_push(Instant now, ChannelId id);
  void handle_roster_change(Instant now, const std::string& site, const RosterChange& change);
  void revoke(Instant now, const Identity& identity);

  SignalHubOptions options;
  Random& random;
  std::map<std::string, SignalHubSite> sites;
  std::unordered_map<ChannelId, std::unique_ptr<HubChannel>> channels;
  std::set<std::pair<Instant, ChannelId>> deadlines;
  std::map<Identity, std::size_t> handshakes;  // under way, per identity
  HubPresence presence;
  SessionRegistry sessions;
  std::map<Identity, Instant> last_offers;  // younger than offer_interval at the last sweep
  std::deque<ChannelId> writable;
  // Output of channels that ended, until taken. The oldest goes beyond kMaxLastWords.
  std::map<ChannelId, ByteBuffer> last_words;
  std::deque<HubEvent> events;
  std::optional<Instant> drain_until;
  bool draining = false;
  SignalHubStats stats;
};

}  // namespace natt
