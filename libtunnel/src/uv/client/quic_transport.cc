// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/quic_transport.h"

#include <utility>

namespace natt::tunnel::uv {

bool QuicTransport::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  if (!client_->accepts(packet)) return false;
  client_->handle_packet(now, path, ecn, packet);
  if (in_use_) driver_.endpoint().note_received(now, path);
  return true;
}

void QuicTransport::start_use(Instant now) {
  in_use_ = true;
  driver_.endpoint().use_path(now, path_);
}

void QuicTransport::end_use(Instant now) {
  if (std::exchange(in_use_, false)) driver_.endpoint().release_path(now, path_);
}

std::optional<SocketAddress> QuicTransport::remote() const { return driver_.endpoint().remote_address(path_); }

}  // namespace natt::tunnel::uv
