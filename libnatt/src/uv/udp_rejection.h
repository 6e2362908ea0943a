// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether somebody on the way says that UDP to an address does not pass: a connected socket
// hears of ICMP errors (udp(7), "Error handling"), the endpoint's socket, which talks to
// many, does not. Needs no loop: the kernel keeps the error until it is asked for.
// Resource type.

#include <natt/address.h>
#include <natt/bytes.h>

#include "src/uv/descriptor.h"

namespace natt::uv {

class UdpRejection {
 public:
  UdpRejection() = default;
  UdpRejection(const UdpRejection&) = delete;
  UdpRejection& operator=(const UdpRejection&) = delete;

  // Asks: sends a datagram from a socket of its own, and forgets what was heard before.
  void send(const SocketAddress& to, ByteView datagram);
  // Port unreachable or administratively prohibited (RFC 792, RFC 1812 section 5.2.7.1), since send().
  [[nodiscard]] bool was_heard();

 private:
  Descriptor fd_;
  bool heard_ = false;
};

}  // namespace natt::uv
