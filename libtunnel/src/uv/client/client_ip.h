// SPDX-License-Identifier: Apache-2.0
#pragma once

// CONNECT-IP at the client: one TUN device fed by the tunnel's IP stream. Takes the address
// the gateway assigns and, of the routes it advertises, only those that configuration
// accepts; a gateway cannot make itself the default route. Resource type; loop and owner
// outlive it.

#include <memory>
#include <set>

#include <natt/log.h>
#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/uv/site_client.h>
#include <natt/tunnel/uv/tun_device.h>

namespace natt::tunnel::uv {

class ClientIp final : private TunDevice::Listener {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_ip_progress(Instant now) = 0;
    // Never routed into the tunnel: what the tunnel itself runs over, the host's own networks and name servers.
    [[nodiscard]] virtual std::vector<IpAddress> outer_addresses() const = 0;
  };

  [[nodiscard]] static Result<std::unique_ptr<ClientIp>> open(uv_loop_s& loop, const ClientTunOptions& options,
                                                              LogSink log, Owner& owner);
  ClientIp(const ClientIp&) = delete;
  ClientIp& operator=(const ClientIp&) = delete;

  // Owner::outer_addresses() has changed: a route that was fine may carry the tunnel now.
  void check_routes_again();
  // The tunnel outlives this until handle_tunnel_down().
  void handle_tunnel_up(ClientTunnel& tunnel);
  void handle_tunnel_down();
  [[nodiscard]] bool owns(StreamId stream) const { return stream_ == stream; }
  void handle_event(const ClientEvent& event);
  void handle_packet(ByteView packet) { device_->send(packet); }

 private:
  // One per family is what gateways assign; two are for a change of either.
  static constexpr std::size_t kMaxAddresses = 4;

  ClientIp(const ClientTunOptions& options, LogSink log, Owner& owner)
      : options_(options), log_(log), owner_(owner) {}
  void on_packet(ByteView packet) override;
  void on_burst_end() override;
  void on_error(const Error& error) override;
  void take_addresses(const AddressAssign& assign);
  void look_outside();
  void take_routes(RouteAdvertisement advertisement);
  [[nodiscard]] bool is_usable(const IpPrefix& address) const;
  [[nodiscard]] bool accepts(const IpPrefix& route) const;

  ClientTunOptions options_;
  LogSink log_;
  Owner& owner_;
  std::unique_ptr<TunDevice> device_;
  ClientTunnel* tunnel_ = nullptr;
  std::optional<StreamId> stream_;
  bool open_ = false;
  std::set<IpPrefix> addresses_;
  std::set<IpPrefix> routes_;
  RouteAdvertisement advertised_;
  std::vector<IpAddress> outer_;  // as of the last look
};

}  // namespace natt::tunnel::uv
