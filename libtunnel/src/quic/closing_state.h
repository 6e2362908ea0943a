// SPDX-License-Identifier: Apache-2.0
#pragma once

// The last packet of a connection we ended (RFC 9000 section 10.2.1): sent once, and again
// for the 1st, 2nd, 4th, 8th... packet that still comes. Value-like member of Connection.

#include <array>
#include <cstdint>

#include <natt/bytes.h>
#include <natt/path_id.h>
#include <natt/time.h>

namespace natt::tunnel {

class ClosingState {
 public:
  // ngtcp2 never writes a close packet larger than this.
  static constexpr std::size_t kMaxPacket = 1200;

  [[nodiscard]] MutableBytes buffer() { return packet_; }
  void arm(std::size_t size, PathId path, Instant until);
  // Without a packet: the peer ended it, or nobody is there.
  void drain(Instant until) { until_ = until; }

  void handle_packet(PathId path);
  // The packet when it is due, once each time.
  [[nodiscard]] ByteView take();
  [[nodiscard]] PathId path() const { return path_; }
  [[nodiscard]] Instant until() const { return until_; }
  [[nodiscard]] bool due() const { return due_; }

 private:
  std::array<std::uint8_t, kMaxPacket> packet_{};
  std::size_t size_ = 0;
  PathId path_;
  Instant until_;
  std::uint32_t received_ = 0;
  bool due_ = false;
};

}  // namespace natt::tunnel
