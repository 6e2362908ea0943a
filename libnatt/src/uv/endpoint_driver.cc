// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/endpoint_driver.h>

#include <algorithm>

#include <natt/demux.h>
#include <natt/gate_expectations.h>
#include <natt/uv/interface_addresses.h>

namespace natt::uv {

Result<std::unique_ptr<EndpointDriver>> EndpointDriver::open(uv_loop_s& loop, const Options& options, Random& random,
                                                             Listener& listener) {
  std::unique_ptr<EndpointDriver> driver(new EndpointDriver(loop, options, random, listener));
  auto socket = UdpSocket::open(loop, {.bind = options.bind}, *driver);
  if (!socket) return tl::unexpected(socket.error());
  driver->socket_ = std::move(*socket);
  // The gate logs why not, and health tells: we drop strangers' packets ourselves then.
  if (options.gate != nullptr) {
    static_cast<void>(options.gate->attach(driver->socket_->descriptor(), spa::GateSocket::kTunnelUdp));
  }
  const Instant start = now();
  driver->refresh_addresses(start);
  driver->flush(start);
  return driver;
}

EndpointDriver::EndpointDriver(uv_loop_s& loop, const Options& options, Random& random, Listener& listener)
    : listener_(listener), gate_(options.gate), endpoint_(options.endpoint, random), timer_(loop, *this) {}

EndpointDriver::~EndpointDriver() = default;

void EndpointDriver::refresh_addresses(Instant now) {
  const SocketAddress bound = socket_->local_address();
  endpoint_.set_own_addresses(
      now, bound.ip.is_unspecified() ? interface_addresses() : std::vector<IpAddress>{bound.ip}, bound.port);
  next_interface_check_ = now + kInterfaceInterval;
}

void EndpointDriver::set_mute_addresses(const std::vector<SocketAddress>& addresses) {
  std::vector<Mute> mutes;
  for (const SocketAddress& address : addresses) mutes.push_back({address, heard_from_mute(address)});
  mutes_ = std::move(mutes);
}

bool EndpointDriver::heard_from_mute(const SocketAddress& address) const {
  return std::any_of(mutes_.begin(), mutes_.end(),
                     [&](const Mute& mute) { return mute.heard && mute.address == address; });
}

void EndpointDriver::forget_heard(const SocketAddress& address) {
  for (Mute& mute : mutes_) {
    if (mute.address == address) mute.heard = false;
  }
}

void EndpointDriver::listen_to_mutes(const ReceivedTrain& train) {
  for (Mute& mute : mutes_) {
    if (mute.address.port != train.from.port || mute.address.ip != train.from.ip) continue;
    if (classify_dns_port_datagram(train.bytes) == DatagramKind::kDns) mute.heard = true;
  }
}

void EndpointDriver::on_train(Instant now, const ReceivedTrain& train) {
  listen_to_mutes(train);
  const std::size_t step = train.segment_size == 0 ? train.bytes.size() : train.segment_size;
  for (std::size_t at = 0; at < train.bytes.size(); at += step) {
    handle_datagram(now, train, train.bytes.subspan(at, std::min(step, train.bytes.size() - at)));
  }
}

void EndpointDriver::handle_datagram(Instant now, const ReceivedTrain& train, ByteView datagram) {
  if (classify_datagram(datagram) == DatagramKind::kKnock) {
    listener_.on_knock(now, train.from, datagram);
    return;
  }
  const auto packet = endpoint_.handle_datagram(now, wall_now() + clock_offset_, train.from, train.local, datagram);
  if (!packet) return;
  const auto path = path_of(now, train.from, *packet);
  if (!path) return;
  listener_.on_tunnel_packet(now, *path, train.ecn, packet->bytes);
}

std::optional<PathId> EndpointDriver::path_of(Instant now, const SocketAddress& from, const TunnelPacket& packet) {
  if (const auto known = endpoint_.path_of(packet.route)) return known;
  return listener_.admits_new_path(now, from, packet.bytes) ? endpoint_.create_path(packet.route) : std::nullopt;
}

void EndpointDriver::on_receive_done(Instant now) {
  listener_.on_flush(now);
  flush(now);
}

void EndpointDriver::on_writable(Instant now) {
  listener_.on_flush(now);
  flush(now);
}

void EndpointDriver::on_timer(Instant now) {
  if (now >= next_interface_check_) refresh_addresses(now);
  endpoint_.handle_timeout(now, wall_now() + clock_offset_);
  flush(now);
}

void EndpointDriver::flush(Instant now) {
  while (auto transmit = endpoint_.poll_transmit()) send_own(*transmit);
  timer_.arm(earlier(endpoint_.next_deadline(), next_interface_check_));
  // An event's handler may give commands and call flush() in turn: the outer loop delivers what that caused.
  if (flushing_) return;
  flushing_ = true;
  while (auto event = endpoint_.poll_event()) listener_.on_endpoint_event(now, *event);
  flushing_ = false;
  while (auto transmit = endpoint_.poll_transmit()) send_own(*transmit);
  timer_.arm(earlier(endpoint_.next_deadline(), next_interface_check_));
}

SendResult EndpointDriver::send(Instant now, const PathTrain& train) {
  const auto route = endpoint_.route(train.path);
  if (!route) return {SendStatus::kFailed, train.bytes.size()};
  const SendResult result = socket_->send({.to = route->to, .from = route->from, .header = route->header,
                                           .bytes = train.bytes, .segment_size = train.segment_size,
                                           .ecn = train.ecn});
  if (result.status == SendStatus::kSent) endpoint_.note_sent(now, train.path);
  return result;
}

void EndpointDriver::send(const Transmit& transmit) {
  const bool dns = std::any_of(mutes_.begin(), mutes_.end(),
                               [&](const Mute& mute) { return mute.address == transmit.to; });
  if (gate_ != nullptr && dns) gate_->expect_dns(transmit.to, kDnsAnswerLifetime);
  socket_->send(transmit);
}

// An answer on loopback can be here before send() returns: it is expected first.
void EndpointDriver::send_own(const Transmit& transmit) {
  if (gate_ != nullptr) expect_answers_to(*gate_, transmit);
  socket_->send(transmit);
}

}  // namespace natt::uv
