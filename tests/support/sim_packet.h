// SPDX-License-Identifier: Apache-2.0
#pragma once

// A UDP datagram on a simulated network. Value type.

#include <natt/address.h>
#include <natt/bytes.h>

namespace natt::test {

struct SimPacket {
  SocketAddress from;
  SocketAddress to;
  ByteBuffer bytes;
};

}  // namespace natt::test
