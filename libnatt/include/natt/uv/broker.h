// SPDX-License-Identifier: Apache-2.0
#pragma once

// A whole connection broker on the embedder's loop: SPA in front of everything, signaling,
// STUN, and the relay, for any number of sites. Reads no files; the program around it does.
//
//   auto broker = Broker::open(loop, {...}, random);
//   (*broker)->update_roster(now, "hq", documents);      // whenever a newer one is there
//   ... (*broker)->drain(now, 10s); run the loop until is_drained(); destroy it.
//
// Resource type on the embedder's loop and its thread; loop and random outlive it. After the
// destructor has returned no callback runs; the loop has to run once more to free handles.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/credentials.h>
#include <natt/error.h>
#include <natt/race.h>
#include <natt/random.h>
#include <natt/relay_server.h>
#include <natt/retired_keys.h>
#include <natt/roster_on_disk.h>
#include <natt/roster_store.h>
#include <natt/signal_admission.h>
#include <natt/signal_hub.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa/keys.h>
#include <natt/spa/mapped_journal.h>
#include <natt/spa/verifier.h>
#include <natt/stun_server.h>
#include <natt/tcp_relay.h>
#include <natt/uv/roster_updater.h>
#include <natt/uv/udp_socket.h>
#include <natt/tcp_door_plan.h>

struct uv_loop_s;

namespace natt::spa {
class KernelGate;
}

namespace natt::uv {

struct BrokerSiteOptions {
  Credentials credentials;  // of this broker in this site
  std::vector<spa::KeyPair> spa_keys;  // newest first
  spa::SitePsk psk;
  SignedRoster roster;
  // The file that remembers accepted knocks over a restart; of this broker in this site alone. Empty: a frame that a
  // former run accepted may be accepted once more within the lead of its sender's clock.
  std::filesystem::path replay_journal;
  RetiredKeys retired;  // of a former run
};

// Sockets that are bound already, the third listening: a service manager holds them while the broker restarts. -1: the
// broker opens its own. They are the broker's, also on failure.
struct BrokerSockets {
  int udp = -1;
  int dns = -1;
  int tcp = -1;
};

struct BrokerOptions {
  IpAddress address;  // unspecified: all
  std::uint16_t port = 443;     // UDP and TCP; what SPA frames are bound to
  std::uint16_t dns_port = 53;  // UDP: knocks as DNS queries, and the second STUN port; 0: none
  // What those queries may end in, besides each site's own suffix.
  std::optional<spa::DnsSuffix> dns_suffix;
  // `[spa] mode` and `tcp_visibility` (absent: the strongest that mode and host allow); set_tcp_policy() changes them.
  SpaMode mode = SpaMode::kUdpTcp;
  std::optional<TcpVisibility> tcp_visibility;
  // In front of the sockets; none: null. Outlives the broker.
  spa::KernelGate* gate = nullptr;
  BrokerSockets sockets;
  // Persisted by the program, so that relayed sessions survive a restart.
  RelayKey relay_key;
  RelayServerOptions relay;
  std::vector<BrokerSiteOptions> sites;
  RetiredKeyListener* retired_keys = nullptr;  // outlives the broker
  Duration persist_retry = RosterOnDisk::kRetry;  // of a roster that could not be written
  LogSink log;
};

// A session as clients report it and the relay counts it.
struct BrokerSession {
  SessionKey key;
  Identity client;
  Identity gateway;
  // Absent: not connected yet.
  std::optional<ConnectionType> type;
  std::optional<RelayReason> reason;
  Instant since{};
};

struct BrokerSiteState {
  std::string name;
  std::uint64_t roster_number = 0;
  bool roster_stale = false;
  // Why the last roster that came was not taken; absent once one was.
  std::optional<RosterRejection> roster_rejection;
  // Why the newest roster is not on the disk: a restart would go by an older one. Empty when it is.
  std::string roster_not_persisted;
  std::size_t gateways_online = 0;
  std::size_t clients_online = 0;
  WallTime certificate_end{};  // of the broker's own
  // Devices of a large roster that cannot knock yet: they follow within seconds.
  std::size_t devices_loading = 0;
  // The roster lists this generation of the broker's SPA key, but update_keys() was not given its pair.
  std::optional<std::uint16_t> missing_own_key;
  spa::VerifierStats spa;
  std::optional<spa::ReplayStatus> replay;  // absent: no journal was asked for
};

// The TCP port, as its operator sees it.
struct BrokerDoorState {
  SpaMode mode = SpaMode::kUdpTcp;
  TcpDoorPlan plan;
  SignalAdmissionStats connections;
  AddressGrantsStats grants;
  std::size_t live_grants = 0;
  // Members whose connections lack a UDP knock (mode udp-tcp), of the last minutes.
  std::vector<KnockMissing> knocks_missing;
};

// A gateway or client of a site, as far as signaling goes.
struct BrokerPeerState {
  Identity identity;
  std::optional<SocketAddress> remote;  // absent: no channel
};

class Broker {
 public:
  // Errors: kIo (the port is taken, no privilege for it) and whatever is wrong with a site's material; one sentence.
  [[nodiscard]] static Result<std::unique_ptr<Broker>> open(uv_loop_s& loop, BrokerOptions options, Random& random);
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Verifies, takes over, pushes to everyone, and ends what it no longer allows, before it returns. A roster already
  // held changes nothing. kUnavailable for a site that is not served.
  [[nodiscard]] Result<RosterChange> update_roster(Instant now, const std::string& site, const SignedRoster& documents);
  // The same for a site of any size, without stopping the loop: `job` reads and persists in libuv's thread pool, and
  // the roster takes effect when it was verified there. One that could not be persisted is written again after
  // BrokerOptions::persist_retry. What came of it is in the log, in roster() and in sites().
  void load_roster(const std::string& site, RosterJob job);
  // Exchanges this broker's certificate and SPA pairs (newest first) in a site while it serves: channels stay, knocks
  // for pairs that stay go on. kUnavailable for a site that is not served, and whatever is wrong with the material.
  [[nodiscard]] Result<void> update_keys(Instant now, const std::string& site, const Credentials& credentials,
                                         std::vector<spa::KeyPair> spa_keys);
  // natt/relaySessionsThreshold and natt/relayThroughputBitsPerSecondThreshold.
  void set_relay_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second);
  // After a reload. What waits for a knock that is no longer wanted is let in. kIo: the kernel gate could not follow.
  [[nodiscard]] Result<void> set_tcp_policy(Instant now, SpaMode mode, std::optional<TcpVisibility> visibility);
  void drain(Instant now, std::chrono::milliseconds within);
  [[nodiscard]] bool is_drained() const;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::vector<BrokerSession> sessions() const;
  // Of the sessions() that are connected; costs the same for any number.
  [[nodiscard]] ConnectionCounts session_counts() const;
  // Over UDP and TCP.
  [[nodiscard]] std::vector<RelaySessionReport> relay_sessions() const;
  [[nodiscard]] std::vector<BrokerSiteState> sites(WallTime wall_now) const;
  // All gateways of the roster, and the clients that are connected.
  [[nodiscard]] std::vector<BrokerPeerState> peers(const std::string& site) const;
  [[nodiscard]] RelayLoad relay_load() const;
  // Sessions and octets over UDP and TCP, the rest of UDP.
  [[nodiscard]] RelayStats relay_stats() const;
  [[nodiscard]] const TcpRelayStats& tcp_relay_stats() const;
  [[nodiscard]] const StunServer::Stats& stun_stats() const;
  [[nodiscard]] const SignalHubStats& signal_stats() const;
  // Of both UDP ports together.
  [[nodiscard]] UdpSocket::Stats udp_stats() const;
  [[nodiscard]] BrokerDoorState door(Instant now) const;
  // What is retired in a site at the moment; null for one that is not served.
  [[nodiscard]] const RetiredKeys* retired_keys(const std::string& site) const;
  // The documents to persist: the newest accepted of each site.
  [[nodiscard]] const SignedRoster* roster(const std::string& site) const;

 private:
  class Impl;
  explicit Broker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::uv
