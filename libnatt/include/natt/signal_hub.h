// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's side of signaling: every admitted connection of every site it serves.
// Registers gateways, tells clients about them, carries offers, answers and candidates
// between the two ends of a session and nowhere else, pushes rosters, and ends what a
// roster no longer allows. What it does not know itself (relay grants, STUN credentials)
// it asks the composition for by event. Nothing crosses from one site to another.
//
// Sans-I/O. Resource type, one thread. TlsContext and RosterStore of each site outlive it.
//
//   Admitted  -> hub.handle_admitted(now, wall_now, ...);
//   on bytes  -> hub.handle_bytes(now, wall_now, channel, bytes);
//   then always: while (auto c = hub.poll_writable()) write(*c, hub.take_output(*c));
//                while (auto e = hub.poll_event()) ...; re-arm(hub.next_deadline());
//
// take_output() is called when the socket can take bytes: what the socket does not take
// stays the driver's, so it asks again only when that is gone; the send queue bounds the rest.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/roster_store.h>
#include <natt/signal_message.h>
#include <natt/signal_types.h>
#include <natt/time.h>
#include <natt/tls_context.h>

namespace natt {

// Whence a device's authenticated STUN came in the last 60 s: the composition implements it with
// StunServer::seen_addresses(). Called while offers, answers and candidates are forwarded.
class SeenAddresses {
 public:
  virtual ~SeenAddresses() = default;
  [[nodiscard]] virtual std::vector<IpAddress> seen_addresses(Instant now, const Identity& device) const = 0;
};

struct SignalHubOptions {
  std::uint64_t features = 0;
  std::uint64_t boot_id = 0;
  // Vouches for public candidates; outlives the hub. Null: nothing is vouched for.
  const SeenAddresses* seen = nullptr;
  std::size_t max_channels = 20'000;
  std::size_t max_handshakes_per_identity = 3;  // DESIGN section 5
  Duration handshake_timeout = std::chrono::seconds(5);
  // Output not yet taken; a peer that lets it fill is too slow and its channel ends (DESIGN section 5).
  std::size_t max_send_queue = 256 * 1024;
  // Nothing heard: two pings and their answers were lost.
  Duration idle_timeout = std::chrono::seconds(70);
  // A session whose end lost its channel waits this long for it to come back: as long as a relay grant lives, since
  // the tunnel and its relay go on meanwhile.
  Duration session_grace = kRelayGrantLifetime;
  std::size_t max_sessions = 100'000;
  std::size_t max_sessions_per_client = 64;
  // An offer that is not answered is forgotten.
  Duration answer_timeout = std::chrono::seconds(10);
  // One offer per second and client (DESIGN section 5), less what the network may take off an interval.
  Duration offer_interval = std::chrono::milliseconds(900);
  // How far ahead the common start of a punch lies: both ends have heard of it by then.
  std::chrono::milliseconds punch_lead{60};
  // Messages a peer may send per second, and at once: far above what any session needs.
  std::uint32_t messages_per_second = 200;
  std::uint32_t message_burst = 400;
  LogSink log;
};

// One site this broker serves. `tls` is a server context with the broker's credentials of that site.
struct SignalHubSite {
  std::string site;
  const TlsContext* tls = nullptr;
  const RosterStore* roster = nullptr;  // full view
};

// A session as the hub knows it. Identities were verified by TLS and the roster.
struct SessionKey {
  std::string site;
  SessionId session;
  friend auto operator<=>(const SessionKey&, const SessionKey&) = default;
};

struct ChannelOpened {
  ChannelId channel;
  Identity identity;
  SocketAddress remote;
  SignalHello hello;
};
// Write what take_output() still gives, then close the connection.
struct ChannelClosed {
  ChannelId channel;
  Identity identity;
  Error reason;
};
struct GatewayRegistered {
  Identity gateway;
  GatewayRegistration registration;
};
struct SessionOpened {  // the gateway accepted
  SessionKey key;
  Identity client;
  Identity gateway;
};
struct SessionClosed {  // relay grants of the session are to be withdrawn
  SessionKey key;
  Identity client;
  Identity gateway;
  SessionEndReason reason = SessionEndReason::kClosed;
};
// Answer with grant_relay() to both ends, or refuse_relay(). Only for sessions that were offered by `client` to
// `gateway`.
struct RelayRequested {
  SessionKey key;
  Identity client;
  Identity gateway;
  RelayTransport transport = RelayTransport::kUdp;
  Identity requester;
};
// Answer with grant_relay() or refuse_relay() to the requester.
struct RelayRenewalRequested {
  SessionKey key;
  // False after a restart of this broker: then `client` and `gateway` are empty, and only the sealed grant can
  // say who they are. Call restore_session() when it does and the requester is one of them.
  bool known = true;
  Identity client;
  Identity gateway;
  RelayTransport transport = RelayTransport::kUdp;
  Identity requester;
  ByteBuffer sealed;
};
// Answer with send_stun_credentials().
struct StunCredentialsWanted {
  ChannelId channel;
  Identity identity;
  SocketAddress remote;
};
struct RosterAcknowledged {
  Identity identity;
  std::uint64_t number = 0;
};
struct KeyRenewalReceived {
  ChannelId channel;
  Identity identity;
  ByteBuffer payload;
};
// The client said how a session is connected, one without an offer included. A claim of an authenticated client about
// itself: good for counting, nothing else.
struct SessionReported {
  SessionKey key;
  Identity client;
  Identity gateway;
  ConnectionType type = ConnectionType::kDirect;
  std::optional<RelayReason> reason;
  bool ended = false;
};
// The roster dropped the device or revoked a certificate of it; its channel and sessions are ended already. The
// composition ends its relay grants and STUN credentials; SPA registrations follow the roster.
struct DeviceRevoked {
  Identity identity;
};

using HubEvent = std::variant<ChannelOpened, ChannelClosed, GatewayRegistered, SessionOpened, SessionClosed,
                              RelayRequested, RelayRenewalRequested, StunCredentialsWanted, RosterAcknowledged,
                              KeyRenewalReceived, SessionReported, DeviceRevoked>;

struct SignalHubStats {
  std::uint64_t handshakes_started = 0;
  std::uint64_t handshakes_completed = 0;
  std::uint64_t handshakes_failed = 0;
  std::uint64_t handshakes_refused = 0;  // too many at once for one identity, or too many channels
  std::uint64_t messages_in = 0;
  std::uint64_t messages_out = 0;
  std::uint64_t messages_ignored = 0;  // unknown to this version
  std::uint64_t protocol_errors = 0;   // a channel ended for what it sent
  std::uint64_t slow_peers = 0;
  std::uint64_t offers_forwarded = 0;
  std::uint64_t offers_rejected = 0;
  std::uint64_t stray_messages = 0;  // for a session that is not, or no longer, the sender's
};

class SignalHub {
 public:
  SignalHub(SignalHubOptions options, Random& random);
  ~SignalHub();
  SignalHub(const SignalHub&) = delete;
  SignalHub& operator=(const SignalHub&) = delete;

  // Before the first connection of that site.
  void add_site(const SignalHubSite& site);
  // For channels from now on: the broker's certificate was renewed. Both contexts outlive the hub.
  void set_site_tls(const std::string& site, const TlsContext& tls);

  // A connection whose SPA frame proved `identity`: its certificate has to say the same.
  // `record` is the ClientHello, `rest` what came behind it. False: not taken, close it.
  [[nodiscard]] bool handle_admitted(Instant now, WallTime wall_now, ChannelId channel, const Identity& identity,
                                     const SocketAddress& remote, ByteView record, ByteView rest = {});
  void handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes);
  // The connection is gone; a ChannelClosed event follows unless it was given already.
  void handle_disconnected(Instant now, ChannelId channel);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // A channel with output; each is named once until its output was taken.
  [[nodiscard]] std::optional<ChannelId> poll_writable();
  [[nodiscard]] ByteBuffer take_output(ChannelId channel);
  [[nodiscard]] std::optional<HubEvent> poll_event();

  // After the site's RosterStore accepted a roster: pushes it to everyone (clients get the client
  // view) and ends channels and sessions of removed and revoked devices at once.
  void handle_roster_change(Instant now, const std::string& site, const RosterChange& change);

  // Answers to events; ignored when the channel of `end` is gone. `end` is the client or the gateway of the
  // session: a request is answered with a grant to both, a renewal with one to who asked.
  void grant_relay(Instant now, const SessionKey& key, const Identity& end, const RelayGrantMessage& grant);
  void refuse_relay(Instant now, const SessionKey& key, const Identity& end, RelayTransport transport,
                    RefusalReason reason);
  // A session of before a restart, as a sealed grant proves it. Ignored when known or when there are too many.
  void restore_session(Instant now, const SessionKey& key, const Identity& client, const Identity& gateway);
  void send_stun_credentials(Instant now, ChannelId channel, const StunCredentials& credentials);
  void send_key_renewal(Instant now, ChannelId channel, const KeyRenewal& renewal);

  // Tells everyone, refuses new offers and connections. Channels stay until they leave or `within` is
  // over; is_drained() then.
  void drain(Instant now, std::chrono::milliseconds within);
  [[nodiscard]] bool is_drained() const;

  // Whether the device has an open channel.
  [[nodiscard]] bool is_online(const Identity& identity) const;
  [[nodiscard]] std::size_t channel_count() const;
  [[nodiscard]] std::size_t session_count() const;
  [[nodiscard]] const SignalHubStats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
