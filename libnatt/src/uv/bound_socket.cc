// SPDX-License-Identifier: Apache-2.0
#include "src/uv/bound_socket.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include <natt/errc.h>

#include "src/uv/native_address.h"

namespace natt::uv {
namespace {

Result<BoundSocket> open_for_family(int family, int type, const SocketAddress& address, PortSharing sharing) {
  const auto native = to_native(address, family);
  if (!native) return fail(Errc::kIo, fmt::format("{}: this machine has no IPv6", address.to_string()));
  BoundSocket socket{Descriptor(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), family};
  if (!socket.fd.valid()) return io_error("socket", errno);
  const int fd = socket.fd.get();
  if (family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // For TCP: a restart need not wait for TIME_WAIT. For UDP it would let another process take the port.
  if (type == SOCK_STREAM) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (sharing == PortSharing::kReusePort) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (::bind(fd, native->get(), native->length) != 0) {
    return io_error(fmt::format("bind to {}", address.to_string()).c_str(), errno);
  }
  return socket;
}

}  // namespace

Result<BoundSocket> open_bound_socket(int type, const SocketAddress& address, PortSharing sharing) {
  auto dual = open_for_family(AF_INET6, type, address, sharing);
  if (dual || (!address.ip.is_v4() && !address.ip.is_unspecified())) return dual;
  auto only_v4 = open_for_family(AF_INET, type, address, sharing);
  // The first complaint is about the address that was asked for.
  return only_v4 || only_v4.error().message != dual.error().message ? std::move(only_v4) : std::move(dual);
}

tl::unexpected<Error> io_error(const char* call, int error_number) {
  return fail(Errc::kIo, fmt::format("{}: {}", call, std::generic_category().message(error_number)));
}

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

}  // namespace natt::uv
