// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/udp_flow.h"

#include <algorithm>

namespace natt::tunnel::uv {

Result<std::unique_ptr<UdpFlow>> UdpFlow::open(uv_loop_s& loop, Streams& streams, StreamId stream,
                                               const SocketAddress& target, Owner& owner) {
  std::unique_ptr<UdpFlow> flow(new UdpFlow(streams, stream, target, owner));
  const IpAddress any = target.ip.is_v4() ? IpAddress::v4({0, 0, 0, 0}) : IpAddress{};
  // One flow's worth of buffer and no trains: there may be hundreds of these.
  auto socket = natt::uv::UdpSocket::open(loop,
                                          {.bind = {any, 0},
                                           .receive_buffer = 256 << 10,
                                           .send_buffer = 256 << 10,
                                           .receive_batch = 1,
                                           .gro = false,
                                           .gso = false},
                                          *flow);
  if (!socket) return tl::unexpected(socket.error());
  flow->socket_ = std::move(*socket);
  return flow;
}

void UdpFlow::send(ByteView payload) { socket_->send({.to = target_, .from = {}, .header = {}, .bytes = payload}); }

void UdpFlow::on_train(Instant, const natt::uv::ReceivedTrain& train) {
  if (train.from != target_) return;
  const std::size_t step = train.segment_size == 0 ? train.bytes.size() : train.segment_size;
  for (std::size_t at = 0; at < train.bytes.size(); at += step) {
    const ByteView payload = train.bytes.subspan(at, std::min(step, train.bytes.size() - at));
    // Queue full or too large: dropped, and counted by the tunnel.
    static_cast<void>(streams_.send_datagram(stream_, payload));
  }
}

}  // namespace natt::tunnel::uv
