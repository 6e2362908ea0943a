// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether the host at the other end of a TCP connection takes what it is sent. A program
// behind it may be busy, asleep or far behind; a host that is gone acknowledges nothing.
// Value type.

#include <cstdint>

#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

class TcpProgress {
 public:
  // Octets were acknowledged since the last call, and some waited to be sent then or wait now.
  [[nodiscard]] bool note(const natt::uv::TcpConnection& connection);

 private:
  std::uint64_t acknowledged_ = 0;
  bool waited_ = false;
};

}  // namespace natt::tunnel::uv
