// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client side of one site on the embedder's loop: signaling with the site's brokers, and
// per gateway a tunnel that is raced for when it is needed (direct, through NAT, relayed),
// kept, and raced for again when it is lost. Streams are asked for by gateway and target;
// what comes before the tunnel is up waits for it.
//
// Resource type on the embedder's loop and its thread; loop, random and listener outlive
// it. After the destructor has returned no callback runs; the loop has to run once more to
// free handles.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/credentials.h>
#include <natt/race.h>
#include <natt/roster_store.h>
#include <natt/spa/keys.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/tunnel_protocol.h>
#include <natt/uv/endpoint_driver.h>
#include <natt/uv/site_signaling.h>
#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

struct SiteClientOptions {
  // Unspecified address and port 0: any.
  SocketAddress bind;
  Credentials credentials;
  natt::uv::SpaOwnKey spa_key;
  // The pair before it, for brokers and gateways that do not know the new one yet.
  std::optional<natt::uv::SpaOwnKey> older_spa_key;
  spa::SitePsk psk;
  SignedRoster roster;
  // Where gateways may be reached directly, by name, beside what the roster and brokers tell.
  std::map<std::string, std::vector<SocketAddress>> gateway_addresses;
  // kTls: direct and relayed tunnels are TLS over TCP.
  TunnelProtocol protocol = TunnelProtocol::kQuic;
  Duration natt_after = std::chrono::milliseconds(300);
  Duration relay_after = std::chrono::milliseconds(2500);
  // From the start of a race to giving up; what waits for the tunnel is told then.
  Duration race_timeout = std::chrono::seconds(20);
  Duration stun_keepalive = std::chrono::seconds(15);
  std::vector<IpPrefix> probe_prefixes;
  std::string software;
  // What is known of the brokers' `[spa] mode`: for diagnosis, whatever either mode needs is sent.
  SpaMode spa_mode = SpaMode::kUdpTcp;
  std::map<std::string, SpaMode> broker_modes;  // of brokers that differ, by name
  // Of knocks over DNS, as the brokers have it; absent: the site's own.
  std::optional<spa::DnsSuffix> dns_suffix;
  // Where the device remembers its clock and keys (natt/device_memory.h); empty: nowhere.
  std::filesystem::path memory_file;
  LogSink log;
};

// Names a stream that was asked for; never reused.
struct StreamRequestId {
  std::uint64_t value = 0;
  friend auto operator<=>(const StreamRequestId&, const StreamRequestId&) = default;
};

// Why a stream did not come to be.
struct StreamFailure {
  // HTTP status of the gateway's refusal; 0 when there was no tunnel.
  int status = 0;
  std::string reason;
};

// One tunnel, for status output.
struct SiteConnection {
  Identity gateway;
  bool connected = false;
  ConnectionType type = ConnectionType::kDirect;
  // Of this tunnel: one through a NAT is QUIC, whatever the site's protocol.
  TunnelProtocol protocol = TunnelProtocol::kQuic;
  std::optional<RelayReason> relay_reason;
  std::optional<SocketAddress> remote;
  SocketAddress local;
  ConnectionStats stats;
  Instant since{};
};

struct ClientTunOptions {
  std::string name;
  // Advertised routes inside these are taken, others are logged and left.
  std::vector<IpPrefix> accept_routes;
  std::string gateway;  // empty: any
};

class SiteClient {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The gateway opened the stream (2xx). May call attach() or cancel().
    virtual void on_stream_opened(Instant now, StreamRequestId id) = 0;
    // Final. An attached connection has been reset.
    virtual void on_stream_failed(Instant now, StreamRequestId id, const StreamFailure& failure) = 0;
    // From the target of a UDP flow; `payload` is valid during the call.
    virtual void on_datagram(Instant, StreamRequestId, ByteView) {}
    // A newer roster is in force: write it to where the next start finds it. While that fails no broker is told that
    // this client has it, and this is called again every RosterOnDisk::kRetry.
    [[nodiscard]] virtual bool persist_roster(const SignedRoster& documents) = 0;
  };

  // Streams that wait for their tunnel; more are refused at once.
  static constexpr std::size_t kMaxWaiting = 4096;

  [[nodiscard]] static Result<std::unique_ptr<SiteClient>> open(uv_loop_s& loop, SiteClientOptions options,
                                                                Random& random, Listener& listener);
  ~SiteClient();
  SiteClient(const SiteClient&) = delete;
  SiteClient& operator=(const SiteClient&) = delete;

  // Connects to a gateway now and keeps the tunnel up, asked for or not. Empty: any gateway.
  void keep_up(Instant now, const std::string& gateway);
  // Empty gateway: one with a tunnel, else one that is online, else the first of the roster. The answer comes as
  // on_stream_opened or on_stream_failed, never from inside this call.
  [[nodiscard]] StreamRequestId open_stream(Instant now, const std::string& gateway, const Authority& target);
  // A UDP flow to one target (RFC 9298), answered like a stream; end it with cancel(). Datagrams are lost when the
  // tunnel is down or busy, as on any link: false.
  [[nodiscard]] StreamRequestId open_udp(Instant now, const std::string& gateway, const Authority& target);
  bool send_datagram(Instant now, StreamRequestId id, ByteView payload);
  // Joins a TCP connection to the stream, before or after it is open; `early` was read from it already and goes first.
  void attach(Instant now, StreamRequestId id, std::unique_ptr<natt::uv::TcpConnection> connection,
              ByteBuffer early = {});
  // No callback follows.
  void cancel(Instant now, StreamRequestId id);
  // An IP tunnel on a TUN device; again whenever the tunnel comes back. Errors: see TunDevice::open.
  [[nodiscard]] Result<void> open_tun(Instant now, const ClientTunOptions& options);

  [[nodiscard]] Result<RosterChange> update_roster(Instant now, const SignedRoster& documents);
  void set_stun_keepalive(Instant now, Duration interval);
  // Closes tunnels, telling the gateways, and leaves the brokers.
  void close(Instant now);

  [[nodiscard]] const Identity& identity() const;
  [[nodiscard]] const RosterStore& roster() const;
  [[nodiscard]] std::vector<SiteConnection> connections() const;
  [[nodiscard]] std::vector<natt::uv::SiteSignaling::BrokerState> brokers() const;
  [[nodiscard]] SocketAddress local_address() const;
  [[nodiscard]] const PunchAgent::Stats& punch_stats() const;
  [[nodiscard]] const natt::uv::UdpSocket::Stats& udp_stats() const;
  // What this device adds to its calendar to meet its brokers'.
  [[nodiscard]] std::chrono::milliseconds clock_offset() const;
  // What is wrong with this device's own clock and keys: one sentence each, with what to do.
  [[nodiscard]] std::vector<std::string> own_complaints() const;

 private:
  class Impl;
  explicit SiteClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt::tunnel::uv
