// SPDX-License-Identifier: Apache-2.0
#include "apps/program/service_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace natt::program {
namespace {

// sd_listen_fds(3): SD_LISTEN_FDS_START.
constexpr int kFirst = 3;
constexpr int kMost = 64;

std::optional<int> number_of(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const std::string_view digits(text);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

int type_of(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 ? type : 0;
}

// Of an IP socket; 0 for others.
std::uint16_t port_of(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return 0;
  // sin_port and sin6_port stand at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

}  // namespace

natt::uv::BrokerSockets take_service_sockets(std::uint16_t port, std::uint16_t dns_port, const LogSink& log) {
  natt::uv::BrokerSockets sockets;
  const auto pid = number_of("LISTEN_PID");
  const auto count = number_of("LISTEN_FDS");
  for (const char* variable : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(variable);
  if (!pid || !count || *pid != ::getpid() || *count < 1 || *count > kMost) return sockets;
  for (int fd = kFirst; fd < kFirst + *count; ++fd) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    const int type = type_of(fd);
    const std::uint16_t bound = port_of(fd);
    int* wanted = nullptr;
    if (type == SOCK_DGRAM && bound == port) wanted = &sockets.udp;
    if (type == SOCK_DGRAM && bound == dns_port && dns_port != 0) wanted = &sockets.dns;
    if (type == SOCK_STREAM && bound == port) wanted = &sockets.tcp;
    if (wanted != nullptr && *wanted < 0) {
      *wanted = fd;
      continue;
    }
    log(LogLevel::kWarning, "natt.broker.socket_unused descriptor=" + std::to_string(fd) + " port=" +
                                std::to_string(bound) + " reason=\"no port of [listen], or a second one\"");
    ::close(fd);
  }
  return sockets;
}

}  // namespace natt::program
