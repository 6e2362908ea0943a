// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/streams.h>

#include <algorithm>

namespace natt::tunnel {

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp: return "tcp";
    case Protocol::kUdp: return "udp";
    case Protocol::kIp: return "ip";
  }
  return "unknown";
}

std::size_t Streams::write(StreamId stream, ByteView bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const MutableBytes room = reserve(stream);
    if (room.empty()) break;
    const std::size_t count = std::min(room.size(), bytes.size() - written);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(written), count, room.begin());
    commit(stream, count);
    written += count;
  }
  return written;
}

}  // namespace natt::tunnel
