// SPDX-License-Identifier: Apache-2.0
#pragma once

// What clients open through the tunnel: TCP streams are dialled and bridged, UDP flows get
// a socket, IP tunnels join the IP service; each only as the policy allows, and every
// denial is logged with its rule. Resource type; everything borrowed outlives it.

#include <map>
#include <memory>

#include <natt/log.h>
#include <natt/tunnel/server_tunnels.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/tunnel/uv/stream_bridge.h>
#include <natt/uv/resolver.h>

#include "src/uv/gateway/ip_service.h"
#include "src/uv/gateway/stream_dial.h"
#include "src/uv/gateway/udp_flow.h"

namespace natt::tunnel::uv {

class GatewayStreams final : private StreamDial::Owner,
                             private StreamBridge::Owner,
                             private UdpFlow::Owner,
                             private IpService::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The tunnel has something to send.
    virtual void on_streams_progress(Instant now) = 0;
  };

  GatewayStreams(uv_loop_s& loop, ServerTunnels& server, const GatewayPolicy& policy, LogSink log, Owner& owner);
  ~GatewayStreams() override;
  GatewayStreams(const GatewayStreams&) = delete;
  GatewayStreams& operator=(const GatewayStreams&) = delete;

  [[nodiscard]] Result<void> open_ip(const GatewayTunOptions& options, Random& random);

  // Events of the server that concern streams.
  void handle_request(Instant now, const Request& request);
  void handle_event(Instant now, const ServerEvent& event);
  void handle_datagrams(Instant now);
  // The connection is gone with all its streams.
  void drop_connection(ConnectionId connection);
  // Look-ups one client may have under way: libuv has four threads for all of them.
  static constexpr std::size_t kMaxLookupsPerClient = 16;
  // Frees what ended during the last events; not from inside an event.
  void collect();
  // Ends streams, flows and dials that the policy no longer allows, and judges IP flows anew.
  void handle_policy_change(Instant now);
  [[nodiscard]] std::size_t size() const;

 private:
  void on_dialled(Instant now, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_dial_failed(Instant now, StreamId stream, int status, const std::string& reason) override;
  void on_bridge_progress(Instant now) override { owner_.on_streams_progress(now); }
  void on_bridge_done(Instant now, StreamId stream) override;
  void on_flow_progress(Instant now) override { owner_.on_streams_progress(now); }
  void on_ip_progress(Instant now) override { owner_.on_streams_progress(now); }

  // What a stream is for, to judge it again when the policy changes.
  struct OpenStream {
    Identity client;
    Protocol protocol = Protocol::kTcp;
    Authority target;
    // The address in use; absent while the name is being resolved or dialled.
    std::optional<IpAddress> address;
    // The client has finished before the target was dialled.
    bool finished = false;
  };

  // Asks for the target's addresses, unless the stream has ended meanwhile.
  void resolve(Instant now, const Request& request);
  void on_resolved(Instant now, const Request& request, const std::vector<IpAddress>& addresses);
  void start_dial(Instant now, const Request& request, const std::vector<IpAddress>& addresses);
  void start_flow(const Request& request, const std::vector<IpAddress>& addresses);
  void open_tunnel(const Request& request);
  [[nodiscard]] bool still_allowed(const OpenStream& stream) const;
  void deny(const Request& request, int status, const std::string& reason);
  void forget(StreamId stream);
  void end_dial(StreamId stream);

  uv_loop_s& loop_;
  ServerTunnels& server_;
  const GatewayPolicy& policy_;
  LogSink log_;
  Owner& owner_;
  natt::uv::Resolver resolver_;
  std::map<StreamId, std::unique_ptr<StreamDial>> dials_;
  std::map<StreamId, std::unique_ptr<StreamBridge>> bridges_;
  std::map<StreamId, std::unique_ptr<UdpFlow>> flows_;
  std::map<StreamId, OpenStream> open_;  // every stream from its request on
  std::vector<std::unique_ptr<StreamDial>> ended_dials_;
  std::vector<std::unique_ptr<StreamBridge>> ended_bridges_;
  std::unique_ptr<IpService> ip_;
};

}  // namespace natt::tunnel::uv
