// SPDX-License-Identifier: Apache-2.0
#pragma once

// One burst of QUIC packets for one path, ready for UDP GSO: all of one size but the last,
// which may be shorter. The caller owns the batch, reuses it and thus nothing is allocated
// per packet. In front of every packet stand kHeadroom octets for a relay header.
//
//   PacketBatch batch;
//   while (client.poll_batch(now, batch)) {
//     // direct: sendmsg() with one iovec per packet(i) and UDP_SEGMENT = batch.segment_size()
//     // relay: write the header into headroom(i) and send framed() as one iovec with
//     //        UDP_SEGMENT = batch.segment_size() + kHeadroom
//   }

#include <array>
#include <cstddef>
#include <cstdint>

#include <natt/bytes.h>
#include <natt/path_id.h>

namespace natt::tunnel {

class PacketBatch {
 public:
  // The fixed relay header in front of a QUIC packet (docs/WIRE.md).
  static constexpr std::size_t kHeadroom = 16;
  // What one UDP_SEGMENT send may carry in all: the IPv4 maximum of 65,507 octets of payload.
  static constexpr std::size_t kCapacity = 65'507;
  // UDP_MAX_SEGMENTS of every kernel that has GSO.
  static constexpr std::size_t kMaxPackets = 64;

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
    return {storage_.data() + offset(index) + kHeadroom, index + 1 == count_ ? last_size_ : segment_size_};
  }
  [[nodiscard]] std::span<std::uint8_t, kHeadroom> headroom(std::size_t index) {
    return std::span<std::uint8_t, kHeadroom>{storage_.data() + offset(index), kHeadroom};
  }
  // All packets with their headrooms, one behind the other.
  [[nodiscard]] ByteView framed() const {
    return {storage_.data(), count_ == 0 ? 0 : offset(count_ - 1) + kHeadroom + last_size_};
  }

  // For the cores: space for the next packet, `largest` octets for the first one and as long
  // as that one for the others; empty when the burst is full, which it is after a shorter
  // packet. push() adds what was written there; the first packet sets path and ecn.
  void clear() { count_ = 0; }
  [[nodiscard]] MutableBytes next_slot(std::size_t largest);
  void push(PathId path, std::uint8_t ecn, std::size_t size);

 private:
  [[nodiscard]] std::size_t offset(std::size_t index) const { return index * (kHeadroom + segment_size_); }

  PathId path_;
  std::size_t segment_size_ = 0;
  std::size_t last_size_ = 0;
  std::size_t count_ = 0;
  std::uint8_t ecn_ = 0;
  std::array<std::uint8_t, kCapacity> storage_;  // left uninitialised: written before it is read
};

}  // namespace natt::tunnel
