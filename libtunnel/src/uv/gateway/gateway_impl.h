// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is behind Gateway: the compositions of its parts, and which of them hears of what.
// Resource type on the loop's thread.

#include <natt/tunnel/uv/gateway.h>

#include <functional>
#include <map>

#include <natt/tunnel/uv/packet_pump.h>
#include <natt/uv/gate_work.h>

#include "src/uv/gateway/absence_probe.h"
#include "src/uv/gateway/gateway_material.h"
#include "src/uv/gateway/gateway_sessions.h"
#include "src/uv/gateway/gateway_streams.h"
#include "src/uv/gateway/gateway_tls.h"
#include "src/uv/gateway/gateway_tunnels.h"
#include "src/uv/gateway/initial_verifier.h"

namespace natt::tunnel::uv {

class Gateway::Impl final : public natt::uv::EndpointDriver::Listener,
                            public natt::uv::SiteSignaling::Listener,
                            public GatewayStreams::Owner,
                            public TlsConnections::Owner,
                            public natt::uv::Timer::Listener {
 public:
  Impl(uv_loop_s& loop, GatewayOptions options, const GatewayPolicy& policy, Random& random,
       Gateway::Listener& listener)
      : loop_(loop), options_(std::move(options)), policy_(policy), random_(random), listener_(listener),
        timer_(loop, *this),
        kernel_gate_(loop, options_.gate, [this] { timer_.arm(natt::uv::now()); }) {}

  [[nodiscard]] Result<void> open();
  void flush(Instant now);
  void end_client(Instant now, const Identity& client, std::string_view reason);
  void register_everywhere(Instant now);
  [[nodiscard]] GatewayConnection describe(ConnectionId id) const;

  bool admits_new_path(Instant now, const SocketAddress& from, ByteView packet) override {
    return gate_ && gate_->may_create_path(now, from, packet);
  }
  void on_tunnel_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) override;
  void on_knock(Instant now, const SocketAddress& from, ByteView datagram) override;
  void on_endpoint_event(Instant now, const EndpointEvent& event) override;
  void on_flush(Instant now) override { flush(now); }
  void on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) override;
  void on_roster(Instant now, const RosterChange& change) override;
  bool persist_roster(const SignedRoster& documents) override { return listener_.persist_roster(documents); }
  void on_streams_progress(Instant now) override;
  void on_tls_progress(Instant now) override { flush(now); }
  void on_timer(Instant now) override;

  struct Tunnel {
    Identity client;
    PathId path;                   // none over TLS
    std::optional<TlsRoute> tls;
    std::optional<SessionId> session;
    Instant since{};
  };
  [[nodiscard]] ConnectionType type_of(const Tunnel& tunnel) const;

  uv_loop_s& loop_;
  GatewayOptions options_;
  const GatewayPolicy& policy_;
  Random& random_;
  Gateway::Listener& listener_;
  std::uint64_t boot_id_ = 0;
  bool draining_ = false;
  natt::uv::Timer timer_;
  natt::uv::GateWork kernel_gate_;
  std::unique_ptr<GatewayMaterial> material_;
  std::unique_ptr<natt::uv::EndpointDriver> driver_;
  std::unique_ptr<InitialVerifier> gate_;
  std::unique_ptr<GatewaySessions> sessions_;
  std::unique_ptr<natt::uv::SiteSignaling> signaling_;
  std::unique_ptr<Server> quic_;
  std::unique_ptr<GatewayTls> tls_;  // null in a QUIC site
  std::unique_ptr<GatewayTunnels> server_;
  std::unique_ptr<PacketPump> pump_;
  std::unique_ptr<AbsenceProbe> absence_;
  std::unique_ptr<GatewayStreams> streams_;
  std::map<ConnectionId, Tunnel> tunnels_;

 private:
  [[nodiscard]] Result<void> open_verifier();
  [[nodiscard]] Result<void> open_servers();
  [[nodiscard]] Result<void> open_streams();
  [[nodiscard]] Result<void> open_signaling();
  void brief_kernel_gate();
  void handle_server_event(Instant now, const ServerEvent& event);
  void on_connected(Instant now, const ClientConnected& connected);
  void on_disconnected(Instant now, const ClientDisconnected& gone);
  void on_path_changed(Instant now, const PathChanged& changed);
  [[nodiscard]] std::optional<SocketAddress> remote_of(const Tunnel& tunnel) const;
  void bind_session(Instant now, Tunnel& tunnel);
  void release(Instant now, Tunnel& tunnel);
  void send_registration(Instant now, BrokerIndex broker);
  void on_peer_absent(Instant now, const PeerAbsent& absent);
  void ask_for_life(Instant now, const std::function<bool(const Tunnel&)>& concerned);
  void end_dead_tunnel(Instant now, ConnectionId id);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  bool flushing_ = false;
  bool again_ = false;
};

}  // namespace natt::tunnel::uv
