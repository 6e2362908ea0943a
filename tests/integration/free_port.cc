// SPDX-License-Identifier: Apache-2.0
#include "integration/free_port.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include <natt/uv/tcp_listener.h>
#include <natt/uv/udp_socket.h>

namespace natt::test {
namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

struct Nobody final : uv::UdpSocket::Listener, uv::TcpListener::Listener {
  void on_train(Instant, const uv::ReceivedTrain&) override {}
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection>) override {}
};

// One process at a time has the name, until it ends (unix(7), abstract sockets): the descriptor is never closed.
bool reserve(std::uint16_t port) {
  const std::string name = "natt-test-port-" + std::to_string(port);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const bool is_ours = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0;
  if (!is_ours) ::close(socket);
  return is_ours;
}

}  // namespace

std::uint16_t free_port(UvLoop& loop, Random& random) {
  Nobody nobody;
  for (int tries = 0; tries < 100; ++tries) {
    const auto port = static_cast<std::uint16_t>(15'000 + random.uniform(15'000));
    if (!reserve(port)) continue;
    const auto udp = uv::UdpSocket::open(loop.get(), {.bind = {kLoopback, port}}, nobody);
    const auto tcp = uv::TcpListener::open(loop.get(), {.bind = {kLoopback, port}}, nobody);
    if (udp && tcp) return port;
  }
  FAIL("no free port");
  return 0;
}

SocketAddress nobodys_address(UvLoop& loop, Random& random) { return {kLoopback, free_port(loop, random)}; }

}  // namespace natt::test
