// SPDX-License-Identifier: Apache-2.0
#pragma once

// Later parts of a long ClientHello (hybrid key exchange needs two packets) that overtook the
// first one: kept until it comes. ngtcp2 would answer them with a Retry. Only packets that the
// gate has admitted get here. Bounded: when full, nothing more is held. Resource type.

#include <deque>
#include <vector>

#include <natt/bytes.h>
#include <natt/path_id.h>
#include <natt/time.h>

namespace natt::tunnel {

class HeldInitials {
 public:
  static constexpr std::size_t kMaxPackets = 64;
  static constexpr std::size_t kMaxPerHandshake = 4;
  // A client repeats its hello after 1 s (RFC 9002 section 6.2.2); then the held part is old.
  static constexpr Duration kLifetime = std::chrono::seconds(3);

  struct Packet {
    ByteBuffer dcid;
    PathId path;
    std::uint8_t ecn = 0;
    ByteBuffer bytes;
    Instant until;
  };

  // False when there is no room.
  [[nodiscard]] bool hold(Instant now, ByteView dcid, PathId path, std::uint8_t ecn, ByteView bytes);
  // Takes those of one handshake out, in order of arrival.
  [[nodiscard]] std::vector<Packet> take(Instant now, ByteView dcid);

 private:
  void expire(Instant now);
  std::deque<Packet> packets_;
};

}  // namespace natt::tunnel
