// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/tcp_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

namespace natt::tunnel::uv {

bool TcpProgress::note(const natt::uv::TcpConnection& connection) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(connection.descriptor(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  const bool waits = connection.write_queue_bytes() > 0 || info.tcpi_notsent_bytes > 0;
  const bool waited = std::exchange(waited_, waits);
  const std::uint64_t before = std::exchange(acknowledged_, info.tcpi_bytes_acked);
  return (waited || waits) && acknowledged_ != before;
}

}  // namespace natt::tunnel::uv
