// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's UDP ports: tells STUN, relay frames and knocks apart by first byte, hands
// each to its core and sends what the core answers. Everything else is dropped.
//
// Resource type; loop and cores outlive it.

#include <array>
#include <memory>
#include <vector>

#include <natt/knock_listener.h>
#include <natt/relay_server.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/verifier_group.h>
#include <natt/stun_server.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

#include "src/uv/broker/knock_batch.h"

namespace natt::uv {

class BrokerUdp final : private Timer::Listener {
 public:
  struct Options {
    IpAddress address;
    std::uint16_t port = 443;
    std::uint16_t dns_port = 53;  // 0: none
    std::vector<spa::DnsSuffix> dns_suffixes;  // of knocks over DNS; any of them will do
    KnockListener* knocks = nullptr;           // outlives this
    spa::KernelGate* gate = nullptr;           // put on both ports
    int socket = -1;                           // bound already: taken instead of opening one
    int dns_socket = -1;
  };

  [[nodiscard]] static Result<std::unique_ptr<BrokerUdp>> open(uv_loop_s& loop, const Options& options,
                                                               StunServer& stun, RelayServer& relay,
                                                               spa::VerifierGroup& verifiers);
  ~BrokerUdp() override;
  BrokerUdp(const BrokerUdp&) = delete;
  BrokerUdp& operator=(const BrokerUdp&) = delete;

  // After commands to the relay server: sends its control frames and re-arms its timer.
  void flush();
  [[nodiscard]] std::uint16_t port() const;
  // Of both ports together.
  [[nodiscard]] UdpSocket::Stats stats() const;
  [[nodiscard]] std::uint64_t knocks_granted() const { return knocks_.granted(); }

 private:
  class Port;
  BrokerUdp(uv_loop_s& loop, StunServer& stun, RelayServer& relay, spa::VerifierGroup& verifiers,
            const Options& options);
  void on_timer(Instant now) override;
  void on_train(Instant now, Port& port, const ReceivedTrain& train);
  void handle_datagram(Instant now, Port& port, const ReceivedTrain& train, ByteView datagram);
  void handle_stun(Instant now, Port& port, const ReceivedTrain& train, ByteView datagram);
  void handle_knock(Instant now, const ReceivedTrain& train, ByteView datagram);
  void handle_dns(Instant now, const ReceivedTrain& train, ByteView datagram);
  void add_knock(Instant now, const ReceivedTrain& train, spa::Transport transport, const spa::Frame& frame);
  void forward(Instant now, Port& port, const ReceivedTrain& train);

  StunServer& stun_;
  RelayServer& relay_;
  const std::vector<spa::DnsSuffix> dns_suffixes_;
  KnockBatch knocks_;
  Timer timer_;
  std::unique_ptr<Port> main_;
  std::unique_ptr<Port> dns_;
  std::array<std::uint8_t, kStunMaxMessageSize> reply_{};
};

}  // namespace natt::uv
