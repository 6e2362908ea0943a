// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/broker_udp.h"

#include <sys/socket.h>

#include <algorithm>

#include <natt/demux.h>
#include <natt/spa/dns_carrier.h>
#include <natt/spa/udp_carrier.h>

namespace natt::uv {

// One UDP port; tells the owner which one a train came to.
class BrokerUdp::Port final : public UdpSocket::Listener {
 public:
  explicit Port(BrokerUdp& owner) : owner_(owner) {}

  [[nodiscard]] Result<void> open(uv_loop_s& loop, const UdpSocket::Options& options, spa::KernelGate* gate,
                                  spa::GateSocket kind) {
    auto socket = UdpSocket::open(loop, options, *this);
    if (!socket) return tl::unexpected(socket.error());
    socket_ = std::move(*socket);
    if (gate != nullptr) {
      // The gate logs why not, and health tells: we drop strangers' packets ourselves then.
      static_cast<void>(gate->attach(socket_->descriptor(), kind));
      return {};
    }
    // What a former process left on an adopted socket; ENOENT mostly.
    const int unused = 0;
    static_cast<void>(::setsockopt(socket_->descriptor(), SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused));
    return {};
  }
  [[nodiscard]] UdpSocket& socket() { return *socket_; }

  void on_train(Instant now, const ReceivedTrain& train) override { owner_.on_train(now, *this, train); }
  void on_receive_done(Instant now) override {
    owner_.knocks_.verify(now);
    owner_.flush();
  }
  void on_writable(Instant) override { owner_.flush(); }

 private:
  BrokerUdp& owner_;
  std::unique_ptr<UdpSocket> socket_;
};

Result<std::unique_ptr<BrokerUdp>> BrokerUdp::open(uv_loop_s& loop, const Options& options, StunServer& stun,
                                                   RelayServer& relay, spa::VerifierGroup& verifiers) {
  std::unique_ptr<BrokerUdp> udp(new BrokerUdp(loop, stun, relay, verifiers, options));
  if (auto opened = udp->main_->open(loop, {.bind = {options.address, options.port}, .adopt = options.socket},
                                    options.gate, spa::GateSocket::kBrokerUdp);
      !opened) {
    return tl::unexpected(opened.error());
  }
  if (options.dns_port != 0) {
    udp->dns_ = std::make_unique<Port>(*udp);
    if (auto opened = udp->dns_->open(loop, {.bind = {options.address, options.dns_port}, .adopt = options.dns_socket},
                                      options.gate, spa::GateSocket::kBrokerDns);
        !opened) {
      return tl::unexpected(opened.error());
    }
  }
  return udp;
}

BrokerUdp::BrokerUdp(uv_loop_s& loop, StunServer& stun, RelayServer& relay, spa::VerifierGroup& verifiers,
                     const Options& options)
    : stun_(stun),
      relay_(relay),
      dns_suffixes_(options.dns_suffixes),
      knocks_(verifiers, options.knocks),
      timer_(loop, *this),
      main_(std::make_unique<Port>(*this)) {}

BrokerUdp::~BrokerUdp() = default;

std::uint16_t BrokerUdp::port() const { return main_->socket().local_address().port; }

UdpSocket::Stats BrokerUdp::stats() const {
  UdpSocket::Stats sum = main_->socket().stats();
  if (dns_) sum += dns_->socket().stats();
  return sum;
}

void BrokerUdp::on_timer(Instant now) {
  relay_.handle_timeout(now, wall_now());
  flush();
}

void BrokerUdp::flush() {
  while (auto transmit = relay_.poll_transmit()) main_->socket().send(*transmit);
  timer_.arm(relay_.next_deadline());
}

void BrokerUdp::on_train(Instant now, Port& port, const ReceivedTrain& train) {
  // A train is one sender's; a relay's is forwarded whole. Each segment's id is checked again there.
  if (&port == main_.get() && classify_datagram(train.bytes) == DatagramKind::kRelay) return forward(now, port, train);
  const std::size_t step = train.segment_size == 0 ? train.bytes.size() : train.segment_size;
  for (std::size_t at = 0; at < train.bytes.size(); at += step) {
    handle_datagram(now, port, train, train.bytes.subspan(at, std::min(step, train.bytes.size() - at)));
  }
}

void BrokerUdp::forward(Instant now, Port& port, const ReceivedTrain& train) {
  const WallTime wall = wall_now();
  MutableBytes rest = train.bytes;
  while (!rest.empty()) {
    const auto out = relay_.handle_train(now, wall, train.from, train.local, rest, train.segment_size);
    // What a full socket does not take is lost, as on any router.
    if (out) {
      port.socket().send({.to = out->to, .from = out->from, .header = {}, .bytes = out->bytes,
                          .segment_size = train.segment_size, .ecn = train.ecn});
    }
  }
}

void BrokerUdp::handle_datagram(Instant now, Port& port, const ReceivedTrain& train, ByteView datagram) {
  const DatagramKind kind =
      &port == main_.get() ? classify_datagram(datagram) : classify_dns_port_datagram(datagram);
  if (kind == DatagramKind::kStun) handle_stun(now, port, train, datagram);
  // Knocks wait for the end of the turn: nothing else that arrives here depends on a grant.
  if (kind == DatagramKind::kKnock) handle_knock(now, train, datagram);
  if (kind == DatagramKind::kDns) handle_dns(now, train, datagram);
}

void BrokerUdp::handle_stun(Instant now, Port& port, const ReceivedTrain& train, ByteView datagram) {
  const SocketAddress local{train.local, port.socket().local_address().port};
  const auto reply = stun_.handle_datagram(now, wall_now(), train.from, local, datagram, reply_);
  if (!reply) return;
  Port& sender = dns_ && reply->from.port == dns_->socket().local_address().port ? *dns_ : *main_;
  sender.socket().send({.to = reply->to, .from = reply->from.ip, .header = {}, .bytes = reply->bytes});
}

void BrokerUdp::handle_knock(Instant now, const ReceivedTrain& train, ByteView datagram) {
  if (const auto frame = spa::parse_udp_carrier(datagram)) add_knock(now, train, spa::Transport::kUdp, *frame);
}

// Any suffix: a frame does not say which site it is for, and a wrong guess of the suffix proves nothing.
void BrokerUdp::handle_dns(Instant now, const ReceivedTrain& train, ByteView datagram) {
  for (const spa::DnsSuffix& suffix : dns_suffixes_) {
    if (const auto frame = spa::parse_dns_carrier(datagram, suffix)) {
      return add_knock(now, train, spa::Transport::kDns, *frame);
    }
  }
}

void BrokerUdp::add_knock(Instant now, const ReceivedTrain& train, spa::Transport transport, const spa::Frame& frame) {
  // Frames are bound to the service port on the DNS port too: what is knocked at is the verifier, not a socket.
  knocks_.add(now, {transport, frame, {.port = port(), .binding = {}, .source = train.from.ip}}, train.from);
}

}  // namespace natt::uv
