// SPDX-License-Identifier: Apache-2.0
#pragma once

// One control datagram a core wants sent (knock, STUN, relay bind). Tunnel packets
// do not pass through here: they go out in batches without allocation.

#include <natt/address.h>
#include <natt/bytes.h>

namespace natt {

struct Transmit {
  SocketAddress to;
  // Source address to leave from (a reply leaves from the address that was asked);
  // unspecified lets the kernel choose.
  IpAddress from;
  ByteBuffer bytes;
};

}  // namespace natt
