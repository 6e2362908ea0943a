// SPDX-License-Identifier: Apache-2.0
#pragma once

// The addresses QUIC sees. A PathId stands in the client's local address and in the server's
// remote address; the other end of the pair is a constant. So another PathId is another
// address, never only another port, and ngtcp2 applies RFC 9000 sections 8 and 9 to PathIds.

#include <netinet/in.h>

#include <ngtcp2/ngtcp2.h>

#include <natt/path_id.h>

#include "src/side.h"

namespace natt::tunnel {

class VirtualPath {
 public:
  VirtualPath(Side side, PathId path);

  // Points into this object.
  [[nodiscard]] ngtcp2_path native();
  // Of a path that ngtcp2 copied from native().
  [[nodiscard]] static PathId id_of(Side side, const ngtcp2_path& path);

 private:
  sockaddr_in6 local_{};
  sockaddr_in6 remote_{};
};

}  // namespace natt::tunnel
