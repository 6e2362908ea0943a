// SPDX-License-Identifier: Apache-2.0
#pragma once

// CONNECT-IP (RFC 9484) at the gateway: one TUN device, an address per client, routes
// advertised, and every inner packet checked: its source is the client's assigned address,
// new flows are what the policy allows, and only flows a client has started come back.
//
// Resource type; loop, policy, streams and owner outlive it.

#include <memory>
#include <unordered_map>

#include <natt/log.h>
#include <natt/random.h>
#include <natt/tunnel/flow_table.h>
#include <natt/tunnel/uv/gateway.h>
#include <natt/tunnel/uv/tun_device.h>

#include "src/uv/gateway/ip_pool.h"

namespace natt::tunnel::uv {

class IpService final : private TunDevice::Listener {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_ip_progress(Instant now) = 0;
  };

  // Opens the TUN device and gives it its addresses.
  [[nodiscard]] static Result<std::unique_ptr<IpService>> open(uv_loop_s& loop, const GatewayTunOptions& options,
                                                               const GatewayPolicy& policy, Streams& streams,
                                                               Random& random, LogSink log, Owner& owner);
  IpService(const IpService&) = delete;
  IpService& operator=(const IpService&) = delete;

  // False: no address is left for this client.
  [[nodiscard]] bool add_client(const Identity& client, StreamId stream);
  void remove_client(StreamId stream);
  void remove_connection(ConnectionId connection);
  // A packet from the client.
  void handle_packet(Instant now, StreamId stream, ByteView packet);
  // After a policy change: every flow is judged anew.
  void clear_flows();

 private:
  struct Client {
    Identity identity;
    std::vector<IpPrefix> addresses;
    std::unique_ptr<FlowTable> flows;
    std::uint64_t denied = 0;
  };

  IpService(const GatewayTunOptions& options, const GatewayPolicy& policy, Streams& streams, Random& random,
            LogSink log, Owner& owner);
  [[nodiscard]] Result<void> configure();
  void on_packet(ByteView packet) override;
  void on_burst_end() override;
  void on_error(const Error& error) override;
  void advertise(StreamId stream, const Client& client);
  [[nodiscard]] bool allows(Instant now, Client& client, const InnerPacket& packet);
  void deny(Client& client, const InnerPacket& packet, const std::string& reason);

  GatewayTunOptions options_;
  const GatewayPolicy& policy_;
  Streams& streams_;
  Random& random_;
  LogSink log_;
  Owner& owner_;
  IpPool pool_;
  std::unique_ptr<TunDevice> device_;
  std::map<StreamId, Client> clients_;
  std::unordered_map<IpAddress, StreamId> by_address_;
};

}  // namespace natt::tunnel::uv
