// SPDX-License-Identifier: Apache-2.0
#pragma once

// An Endpoint on a real UDP socket: reads datagrams, keeps STUN, checks and relay legs
// to itself, hands tunnel packets up with their PathId, and sends tunnel bursts down the
// right path.
//
// Resource type on the embedder's loop and its thread; loop, random and listener outlive
// it. After the destructor has returned no callback runs.

#include <memory>
#include <optional>
#include <vector>

#include <natt/endpoint.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/spa/kernel_gate.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

namespace natt::uv {

// Packets for one path, back to back, each `segment_size` long except the last.
struct PathTrain {
  PathId path;
  ByteView bytes;
  std::size_t segment_size = 0;
  std::uint8_t ecn = 0;
};

class EndpointDriver final : private UdpSocket::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Whether a packet from a path never seen may make one: it carries a connection id of ours, or an Initial that
    // the verifier would open. Has to be cheap, and false for what strangers can make. `from` sent it, or the relay.
    [[nodiscard]] virtual bool admits_new_path(Instant now, const SocketAddress& from, ByteView packet) = 0;
    virtual void on_tunnel_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) = 0;
    // A datagram shaped like a knock (first octet 22).
    virtual void on_knock(Instant now, const SocketAddress& from, ByteView datagram) = 0;
    virtual void on_endpoint_event(Instant now, const EndpointEvent& event) = 0;
    // All that came in this turn was delivered, or the socket has room again: send what is due. May not destroy
    // the driver.
    virtual void on_flush(Instant now) = 0;
  };

  struct Options {
    SocketAddress bind;
    EndpointOptions endpoint;
    // Put on the socket and told what the endpoint asks for; its keys and verifier are the owner's business. Until it has
    // them no request and no tunnel comes in. None: null. Outlives the driver.
    spa::KernelGate* gate = nullptr;
  };

  [[nodiscard]] static Result<std::unique_ptr<EndpointDriver>> open(uv_loop_s& loop, const Options& options,
                                                                    Random& random, Listener& listener);
  ~EndpointDriver() override;
  EndpointDriver(const EndpointDriver&) = delete;
  EndpointDriver& operator=(const EndpointDriver&) = delete;

  // For commands; call flush() after one.
  [[nodiscard]] Endpoint& endpoint() { return endpoint_; }
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  // Sends what the endpoint wants sent, re-arms its timer, then delivers its events.
  void flush(Instant now);

  // A burst of the tunnel. kBlocked: keep the rest (sent_bytes says how much went) until on_flush. A path that has
  // no route any more is kFailed, as good as lost on the way.
  SendResult send(Instant now, const PathTrain& train);
  // A single datagram that is no tunnel packet (a knock).
  void send(const Transmit& transmit);

  // Addresses that answer nothing but STUN: whatever else comes from there is not theirs (a transparent DNS proxy's).
  void set_mute_addresses(const std::vector<SocketAddress>& addresses);
  [[nodiscard]] bool heard_from_mute(const SocketAddress& address) const;
  void forget_heard(const SocketAddress& address);

  // Added to the calendar in everything that brokers and peers compare with their own.
  void set_clock_offset(std::chrono::milliseconds offset) { clock_offset_ = offset; }

  [[nodiscard]] SocketAddress local_address() const { return socket_->local_address(); }
  [[nodiscard]] const UdpSocket::Stats& socket_stats() const { return socket_->stats(); }

 private:
  EndpointDriver(uv_loop_s& loop, const Options& options, Random& random, Listener& listener);
  void on_train(Instant now, const ReceivedTrain& train) override;
  void on_receive_done(Instant now) override;
  void on_writable(Instant now) override;
  void on_timer(Instant now) override;
  void handle_datagram(Instant now, const ReceivedTrain& train, ByteView datagram);
  [[nodiscard]] std::optional<PathId> path_of(Instant now, const SocketAddress& from, const TunnelPacket& packet);
  void listen_to_mutes(const ReceivedTrain& train);
  void send_own(const Transmit& transmit);
  void refresh_addresses(Instant now);

  // How often interfaces are looked at: a new network is noticed within this time, and STUN's keepalive is as slow.
  static constexpr Duration kInterfaceInterval = std::chrono::seconds(5);

  Listener& listener_;
  spa::KernelGate* gate_;
  Endpoint endpoint_;
  Timer timer_;
  std::unique_ptr<UdpSocket> socket_;
  Instant next_interface_check_{};
  struct Mute {
    SocketAddress address;
    bool heard = false;
  };
  std::vector<Mute> mutes_;  // a few per broker
  std::chrono::milliseconds clock_offset_{0};
  bool flushing_ = false;
};

}  // namespace natt::uv
