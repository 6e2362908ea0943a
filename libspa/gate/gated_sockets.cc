// SPDX-License-Identifier: Apache-2.0
#include "gate/gated_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include <natt/spa/errc.h>

namespace natt::spa::gate {
namespace {

// Of the socket for as long as the kernel runs; socket(7).
std::optional<std::uint64_t> cookie_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

bool put_program(int socket, int program) {
  return ::setsockopt(socket, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program) == 0;
}

bool is_listener(GateSocket kind) { return kind == GateSocket::kTcpSyn || kind == GateSocket::kTcpIp; }

}  // namespace

Result<void> GatedSockets::attach(int socket, GateSocket kind, const GateObject& object) {
  const int program = object.program(kind);
  if (program < 0) return fail(Errc::kUnavailable, "the kernel gate was opened without a program for this socket");
  const auto cookie = cookie_of(socket);
  if (!cookie || !put_program(socket, program)) {
    return fail(Errc::kUnavailable,
                "the socket does not take the kernel gate: " + std::generic_category().message(errno));
  }
  if (is_listener(kind)) {
    // A thief's SYN that owns a frame is answered once more at most; a client opens new sockets long before that.
    const int retries = 1;
    static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof retries));
  }
  std::erase_if(sockets_, [&](const Gated& gated) { return gated.cookie == *cookie; });
  if (sockets_.size() >= kMost) sockets_.erase(sockets_.begin());
  sockets_.push_back({.socket = socket, .cookie = *cookie, .kind = kind});
  return {};
}

void GatedSockets::move_to(const GateObject& object) {
  std::erase_if(sockets_, [&](const Gated& gated) {
    return cookie_of(gated.socket) != gated.cookie || !put_program(gated.socket, object.program(gated.kind));
  });
}

}  // namespace natt::spa::gate
