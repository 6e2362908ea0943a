// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where a connection gets its connection ids from and who routes packets by them. A client
// draws random ones and knows its own few; a server makes self-authenticating ones and keeps
// them in its table. Called from QUIC's callbacks: must not fail.

#include <natt/bytes.h>

namespace natt::tunnel {

class ConnectionIds {
 public:
  virtual ~ConnectionIds() = default;
  // Fills `id` and routes it to this connection from now on.
  virtual void issue(MutableBytes id) = 0;
  virtual void retire(ByteView id) = 0;
};

}  // namespace natt::tunnel
