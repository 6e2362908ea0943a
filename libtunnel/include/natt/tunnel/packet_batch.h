// SPDX-License-Identifier: Apache-2.0
#pragma once

// One burst of QUIC packets for one path, back to back and ready for UDP GSO: all of one size
// but the last, which may be shorter. The caller owns the batch, reuses it and thus nothing is
// allocated per packet. A relay header is gathered by the kernel in front of each packet
// (natt/uv/udp_socket.h), so the packets need no room for it.
//
//   PacketBatch batch;
//   while (client.poll_batch(now, batch)) {
//     socket.send({.to = ..., .header = relay header or empty, .bytes = batch.bytes(),
//                  .segment_size = batch.segment_size(), .ecn = batch.ecn()});
//   }

#include <array>
#include <cstddef>
#include <cstdint>

#include <natt/bytes.h>
#include <natt/path_id.h>

namespace natt::tunnel {

class PacketBatch {
 public:
  // UDP_MAX_SEGMENTS of every kernel that has GSO.
  static constexpr std::size_t kMaxPackets = 64;
  // What one UDP_SEGMENT send may carry in all is the IPv4 maximum of 65,507 octets of payload; 16 a packet are
  // left for a relay header.
  static constexpr std::size_t kCapacity = 65'507 - 16 * kMaxPackets;

  [[nodiscard]] PathId path() const { return path_; }
  // ECN codepoint of RFC 3168 for the IP header, 0 when not used.
  [[nodiscard]] std::uint8_t ecn() const { return ecn_; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  // Size of every packet but the last.
  [[nodiscard]] std::size_t segment_size() const { return segment_size_; }
  [[nodiscard]] std::size_t last_size() const { return last_size_; }
  [[nodiscard]] std::size_t payload_bytes() const { return count_ == 0 ? 0 : (count_ - 1) * segment_size_ + last_size_; }

  // `index` below count(). Valid until the next poll_batch().
  [[nodiscard]] MutableBytes packet(std::size_t index) {
    return {storage_.data() + offset(index), index + 1 == count_ ? last_size_ : segment_size_};
  }
  // All packets, one behind the other.
  [[nodiscard]] ByteView bytes() const { return {storage_.data(), payload_bytes()}; }

  // For the cores: space for the next packet, `largest` octets for the first one and as long
  // as that one for the others; empty when the burst is full, which it is after a shorter
  // packet. push() adds what was written there; the first packet sets path and ecn.
  void clear() { count_ = 0; }
  [[nodiscard]] MutableBytes next_slot(std::size_t largest);
  void push(PathId path, std::uint8_t ecn, std::size_t size);

 private:
  [[nodiscard]] std::size_t offset(std::size_t index) const { return index * segment_size_; }

  PathId path_;
  std::size_t segment_size_ = 0;
  std::size_t last_size_ = 0;
  std::size_t count_ = 0;
  std::uint8_t ecn_ = 0;
  std::array<std::uint8_t, kCapacity> storage_;  // left uninitialised: written before it is read
};

}  // namespace natt::tunnel
