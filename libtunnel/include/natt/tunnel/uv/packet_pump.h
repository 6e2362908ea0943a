// SPDX-License-Identifier: Apache-2.0
#pragma once

// Moves packet bursts from tunnel cores to the endpoint's socket. When the socket is full it
// keeps the rest of the burst and goes on with it before anything else.
//
// Resource type; the driver outlives it. A burst is 64 KiB: one pump per socket.

#include <memory>

#include <natt/tunnel/packet_batch.h>
#include <natt/uv/endpoint_driver.h>

namespace natt::tunnel::uv {

class PacketPump {
 public:
  explicit PacketPump(natt::uv::EndpointDriver& driver) : driver_(driver), batch_(std::make_unique<PacketBatch>()) {}
  PacketPump(const PacketPump&) = delete;
  PacketPump& operator=(const PacketPump&) = delete;

  // Everything `core` (Client or Server) has to send now. False: the socket is full; call again from on_flush.
  template <typename Core>
  bool pump(Instant now, Core& core) {
    if (!finish_burst(now)) return false;
    while (core.poll_batch(now, *batch_)) {
      sent_ = 0;
      if (!finish_burst(now)) return false;
    }
    return true;
  }

 private:
  // Sends what is left of the current burst.
  bool finish_burst(Instant now) {
    const ByteView bytes = batch_->bytes();
    if (sent_ >= bytes.size()) return true;
    const natt::uv::SendResult result = driver_.send(
        now, {.path = batch_->path(), .bytes = bytes.subspan(sent_), .segment_size = batch_->segment_size(),
              .ecn = batch_->ecn()});
    if (result.status == natt::uv::SendStatus::kBlocked) {
      sent_ += result.sent_bytes;
      return false;
    }
    // Too big or without a route: lost on the way, which QUIC notices by itself.
    batch_->clear();
    sent_ = 0;
    return true;
  }

  natt::uv::EndpointDriver& driver_;
  std::unique_ptr<PacketBatch> batch_;
  std::size_t sent_ = 0;
};

}  // namespace natt::tunnel::uv
