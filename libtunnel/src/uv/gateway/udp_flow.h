// SPDX-License-Identifier: Apache-2.0
#pragma once

// One CONNECT-UDP stream (RFC 9298) at the gateway: a socket of its own towards one target;
// datagrams from anywhere else are dropped. Resource type; loop, streams and owner outlive it.

#include <memory>

#include <natt/tunnel/streams.h>
#include <natt/uv/udp_socket.h>

namespace natt::tunnel::uv {

class UdpFlow final : private natt::uv::UdpSocket::Listener {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_flow_progress(Instant now) = 0;
  };

  [[nodiscard]] static Result<std::unique_ptr<UdpFlow>> open(uv_loop_s& loop, Streams& streams, StreamId stream,
                                                             const SocketAddress& target, Owner& owner);
  UdpFlow(const UdpFlow&) = delete;
  UdpFlow& operator=(const UdpFlow&) = delete;

  // From the client to the target. What the socket does not take is lost, as on any link.
  void send(ByteView payload);

 private:
  UdpFlow(Streams& streams, StreamId stream, const SocketAddress& target, Owner& owner)
      : streams_(streams), stream_(stream), target_(target), owner_(owner) {}
  void on_train(Instant now, const natt::uv::ReceivedTrain& train) override;
  void on_receive_done(Instant now) override { owner_.on_flow_progress(now); }
  void on_writable(Instant) override {}

  Streams& streams_;
  StreamId stream_;
  SocketAddress target_;
  Owner& owner_;
  std::unique_ptr<natt::uv::UdpSocket> socket_;
};

}  // namespace natt::tunnel::uv
