// SPDX-License-Identifier: Apache-2.0
#pragma once

// TCP segments made by hand, and an ear for whatever comes back: what a scanner does. Needs
// raw sockets in a network of its own, with loopback up.

#include <cstdint>

#include <natt/bytes.h>

#include "tests/integration/gate/gate_fixture.h"

namespace natt::test {

inline constexpr std::uint8_t kFin = 0x01;
inline constexpr std::uint8_t kSyn = 0x02;
inline constexpr std::uint8_t kRst = 0x04;
inline constexpr std::uint8_t kPsh = 0x08;
inline constexpr std::uint8_t kAck = 0x10;
inline constexpr std::uint8_t kUrg = 0x20;

struct Segment {
  std::uint16_t from = 0;
  std::uint8_t flags = kSyn;
  ByteBuffer options;  // of TCP; a multiple of 4
  ByteBuffer data;
  std::uint32_t sequence = 1000;
  bool bad_checksum = false;
};

class TcpProbe {
 public:
  // Probes `port` on loopback. `ip_options` go into every IPv4 header.
  TcpProbe(Family family, std::uint16_t port, ByteView ip_options = {});
  ~TcpProbe();
  TcpProbe(const TcpProbe&) = delete;
  TcpProbe& operator=(const TcpProbe&) = delete;

  void send(const Segment& segment) const;
  // Flags of the first segment that came from the probed port since; 0 for none within a moment.
  [[nodiscard]] std::uint8_t reply(int patience_ms);

 private:
  Family family_;
  std::uint16_t port_;
  int raw_;
};

}  // namespace natt::test
