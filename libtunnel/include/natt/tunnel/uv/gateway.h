// SPDX-License-Identifier: Apache-2.0
#pragma once

// A whole gateway on the embedder's loop: one UDP socket for tunnel, STUN, checks and relay,
// in a TLS site a TCP port of the same number; signaling with every broker of its site; streams dialled and packets routed as far as the
// policy allows. Reads no files; the program around it does.
//
// Resource type on the embedder's loop and its thread; loop, random, policy and listener
// outlive it. After the destructor has returned no callback runs; the loop has to run once
// more to free handles.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/credentials.h>
#include <natt/race.h>
#include <natt/retired_keys.h>
#include <natt/roster_store.h>
#include <natt/signal_admission.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/keys.h>
#include <natt/spa/mapped_journal.h>
#include <natt/spa/verifier.h>
#include <natt/tcp_door_plan.h>
#include <natt/tunnel/server.h>
#include <natt/tunnel/tls_server.h>
#include <natt/tunnel/tunnel_protocol.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/endpoint_driver.h>
#include <natt/uv/site_signaling.h>

namespace natt::tunnel::uv {

struct GatewayTunOptions {
  bool enabled = false;
  std::string name;
  std::vector<IpPrefix> pool;    // clients get their addresses out of these; at most one per family
  std::vector<IpPrefix> routes;  // advertised to clients
};

struct GatewayOptions {
  // Port 0 lets the kernel choose.
  SocketAddress listen;
  Credentials credentials;
  std::vector<natt::uv::SpaOwnKey> spa_keys;  // newest first
  spa::SitePsk psk;
  SignedRoster roster;
  // As natt::uv::BrokerSiteOptions::replay_journal.
  std::filesystem::path replay_journal;
  RetiredKeys retired;  // of a former run
  // Where the gateway remembers its clock and keys (natt/device_memory.h); empty: nowhere.
  std::filesystem::path memory_file;
  Duration persist_retry = RosterOnDisk::kRetry;  // of a roster that could not be written
  // kTls: clients may also come over TCP, on the port of `listen`.
  TunnelProtocol protocol = TunnelProtocol::kQuic;
  GatewayTunOptions tun;
  // In front of the tunnel's socket, for this gateway alone. None: null. Outlives the gateway.
  spa::KernelGate* gate = nullptr;
  Duration stun_keepalive = std::chrono::seconds(15);
  std::vector<IpPrefix> probe_prefixes;
  std::string software;
  // What is known of the brokers' `[spa] mode`: for diagnosis, whatever either mode needs is sent.
  SpaMode spa_mode = SpaMode::kUdpTcp;
  std::map<std::string, SpaMode> broker_modes;  // of brokers that differ, by name
  // Of knocks over DNS, as the brokers have it; absent: the site's own.
  std::optional<spa::DnsSuffix> dns_suffix;
  LogSink log;
};

// The TCP port of a gateway of a TLS site.
struct GatewayDoorState {
  TcpDoorPlan plan;
  SignalAdmissionStats connections;
};

// One tunnel, for status output.
struct GatewayConnection {
  Identity client;
  ConnectionType type = ConnectionType::kDirect;
  TunnelProtocol protocol = TunnelProtocol::kQuic;
  std::optional<SocketAddress> remote;
  ConnectionStats stats;
  Instant since{};
};

class Gateway {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // A newer roster is in force.
    virtual void on_roster(const Roster& roster) { static_cast<void>(roster); }
    // After it: write it to where the next start finds it. While that fails no broker is told that this gateway has the
    // roster, and this is called again every GatewayOptions::persist_retry.
    [[nodiscard]] virtual bool persist_roster(const SignedRoster& documents) = 0;
    // SPA keys of clients or of the gateway were retired: lines for the file that GatewayOptions::retired comes from.
    virtual void on_keys_retired(const std::string& lines) { static_cast<void>(lines); }
  };

  // Errors are one sentence with what to do: port in use, TUN privilege, material that does not fit together.
  [[nodiscard]] static Result<std::unique_ptr<Gateway>> open(uv_loop_s& loop, GatewayOptions options,
                                                             const GatewayPolicy& policy, Random& random,
                                                             Listener& listener);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // A roster from a file. One already held changes nothing.
  [[nodiscard]] Result<RosterChange> update_roster(Instant now, const SignedRoster& documents);
  // Exchanges this gateway's certificate and SPA pairs (newest first, one or two) while it serves: tunnels and channels
  // stay, knocks for pairs that stay go on. Errors, one sentence, leave everything as it was.
  [[nodiscard]] Result<void> update_keys(Instant now, const Credentials& credentials,
                                         std::vector<natt::uv::SpaOwnKey> spa_keys);
  void set_stun_keepalive(Instant now, Duration interval);
  // After the policy changed: ends streams and tunnels of clients it no longer knows.
  void handle_policy_change(Instant now);
  // Leaves the brokers, takes no new tunnels, tells clients; is_drained() once the last has gone.
  void drain(Instant now);
  // Ends what is left, telling the clients.
  void close(Instant now, std::string_view reason);
  [[nodiscard]] bool is_drained() const;

  [[nodiscard]] SocketAddress local_address() const;
  [[nodiscard]] const Roster& roster() const;
  // Why the last roster that came was not taken; absent once one was.
  [[nodiscard]] const std::optional<RosterRejection>& roster_rejection() const;
  [[nodiscard]] std::vector<GatewayConnection> connections() const;
  [[nodiscard]] std::vector<natt::uv::SiteSignaling::BrokerState> brokers() const;
  [[nodiscard]] ServerStats tunnel_stats() const;
  // Both absent in a QUIC site.
  [[nodiscard]] std::optional<GatewayDoorState> door() const;
  [[nodiscard]] std::optional<TlsServerStats> tls_stats() const;
  // Of connections().
  [[nodiscard]] ConnectionCounts connection_counts() const;
  [[nodiscard]] const PunchAgent::Stats& punch_stats() const;
  [[nodiscard]] const natt::uv::UdpSocket::Stats& udp_stats() const;
  // What this device adds to its calendar to meet its brokers'.
  [[nodiscard]] std::chrono::milliseconds clock_offset() const;
  [[nodiscard]] spa::VerifierStats spa_stats() const;
  [[nodiscard]] const RetiredKeys& retired_keys() const;
  // As natt::uv::BrokerSiteState has it.
  [[nodiscard]] std::optional<std::uint16_t> missing_own_key() const;
  // What is wrong with this gateway's own clock and keys: one sentence each, with what to do.
  [[nodiscard]] std::vector<std::string> own_complaints() const;
  // Absent: no journal was asked for.
  [[nodiscard]] std::optional<spa::ReplayStatus> replay_status() const;
  // Sessions that signaling has set up and whose tunnel has not come or is running.
  [[nodiscard]] std::size_t session_count() const;
  [[nodiscard]] std::size_t stream_count() const;

 private:
  class Impl;
  explicit Gateway(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel::uv
