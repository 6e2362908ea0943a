// SPDX-License-Identifier: Apache-2.0
#include "src/uv/udp_rejection.h"

#include <sys/socket.h>

#include <cerrno>

#include "src/uv/native_address.h"

namespace natt::uv {

void UdpRejection::send(const SocketAddress& to, ByteView datagram) {
  heard_ = false;
  const int family = to.ip.is_v4() ? AF_INET : AF_INET6;
  fd_.reset(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto native = to_native(to, family);
  if (!fd_.valid() || !native || ::connect(fd_.get(), native->get(), native->length) != 0) return fd_.reset();
  // What does not leave here says nothing about the way.
  static_cast<void>(::send(fd_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool UdpRejection::was_heard() {
  int error = 0;
  socklen_t length = sizeof error;
  if (fd_.valid() && ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0) {
    heard_ = heard_ || error == ECONNREFUSED || error == EHOSTUNREACH || error == EACCES || error == EPROTO;
  }
  return heard_;
}

}  // namespace natt::uv
