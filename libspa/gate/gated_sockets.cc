// SPDX-License-Identifier: Apache-2.0
#include "gate/gated_sockets.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

#include <natt/spa/errc.h>

namespace natt::spa::gate {
namespace {

// In the order of GateSocket.
constexpr std::array<std::string_view, kGateSocketCount> kNames{"broker_udp", "broker_dns", "tunnel_udp", "tcp_syn",
                                                                "tcp_ip"};

std::string_view name(GateSocket kind) { return kNames[static_cast<std::size_t>(kind)]; }

// Of the socket for as long as the kernel runs; socket(7).
std::optional<std::uint64_t> cookie_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

bool is_stream(int socket) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

bool is_listener(GateSocket kind) { return kind == GateSocket::kTcpSyn || kind == GateSocket::kTcpIp; }

int put_program(int socket, int program) {
  return ::setsockopt(socket, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program) == 0 ? 0 : errno;
}

int drop_program(int socket) {
  const int unused = 0;
  if (::setsockopt(socket, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0) return 0;
  return errno == ENOENT ? 0 : errno;
}

// Keeps a socket silent while there is room for one program only.
int put_silence(int socket) {
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{.len = 1, .filter = &nothing};
  return ::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 ? 0 : errno;
}

// 0 or errno. `former` is what the socket has, or -1: then what it has is not known to anybody.
int replace_program(int socket, int program, int former) {
  const int error = put_program(socket, program);
  if (error != ENOMEM || put_silence(socket) != 0) return error;
  const int again = put_program(socket, program);
  if (again == 0) return 0;
  if (former < 0 || put_program(socket, former) != 0) static_cast<void>(drop_program(socket));
  return again;
}

std::string why(int error) {
  if (error != ENOMEM) return std::generic_category().message(error);
  return "net.core.optmem_max is too small for its program, set it to 131072: " +
         std::generic_category().message(error);
}

// A thief's SYN that owns a frame is answered once more at most; a client opens new sockets long before that.
void answer_once(int socket) {
  const int retries = 1;
  static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof retries));
}

}  // namespace

Result<void> GatedSockets::attach(int socket, GateSocket kind, const GateObject& object) {
  const int program = object.program(kind);
  if (program < 0) return fail(Errc::kUnavailable, "the kernel gate was opened without a program for this socket");
  const auto cookie = cookie_of(socket);
  if (!cookie) return fail(Errc::kUnavailable, "the socket does not take the kernel gate: " + why(errno));
  const auto known =
      std::find_if(sockets_.begin(), sockets_.end(), [&](auto& gated) { return gated.cookie == *cookie; });
  const bool is_known = known != sockets_.end();
  if (is_known && known->kind == kind && known->current) {
    known->socket = socket;
    return {};
  }
  const int former = is_known && is_listener(kind) ? object.program(known->kind) : -1;
  if (const int error = replace_program(socket, program, former); error != 0) {
    if (!is_known || !is_listener(kind)) static_cast<void>(drop_program(socket));
    if (is_known && !is_listener(kind)) sockets_.erase(known);
    note(kind, why(error));
    return fail(Errc::kUnavailable, "the socket does not take the kernel gate: " + why(error));
  }
  if (is_known) sockets_.erase(known);
  if (is_listener(kind)) answer_once(socket);
  if (sockets_.size() >= kMost) sockets_.erase(sockets_.begin());
  sockets_.push_back({.socket = socket, .cookie = *cookie, .kind = kind, .current = true});
  note(kind, {});
  return {};
}

Result<void> GatedSockets::detach(int socket) {
  const auto cookie = cookie_of(socket);
  const int error = cookie ? drop_program(socket) : errno;
  if (error != 0) return fail(Errc::kUnavailable, "the kernel gate does not leave the socket: " + why(error));
  std::erase_if(sockets_, [&](const Gated& gated) { return gated.cookie == *cookie; });
  if (is_stream(socket)) note(GateSocket::kTcpSyn, {});
  return {};
}

void GatedSockets::move_to(const GateObject& object) {
  for (Gated& gated : sockets_) gated.current = false;
  retry(object);
}

void GatedSockets::retry(const GateObject& object) {
  std::erase_if(sockets_, [&](Gated& gated) {
    if (gated.current) return false;
    if (cookie_of(gated.socket) != gated.cookie) {
      if (is_listener(gated.kind)) note(gated.kind, {});
      return true;
    }
    put_again(gated, object);
    return !gated.current && !is_listener(gated.kind);
  });
}

void GatedSockets::put_again(Gated& gated, const GateObject& object) {
  const int program = object.program(gated.kind);
  int error = put_program(gated.socket, program);
  // A listener that then takes no program at all stays silent: it comes here again.
  if (error == ENOMEM && put_silence(gated.socket) == 0) error = put_program(gated.socket, program);
  gated.current = error == 0;
  if (!gated.current && !is_listener(gated.kind)) static_cast<void>(drop_program(gated.socket));
  note(gated.kind, gated.current ? std::string() : why(error));
}

void GatedSockets::note(GateSocket kind, std::string reason) {
  std::string& known = refusals_[static_cast<std::size_t>(kind)];
  if (known.empty() && !reason.empty()) {
    log_(LogLevel::kWarning,
         "natt.spa.kernel_gate state=off socket=" + std::string(name(kind)) + " reason=\"" + reason + "\"");
  }
  if (reason.empty() && is_listener(kind)) {  // of the one listener
    for (const GateSocket each : {GateSocket::kTcpSyn, GateSocket::kTcpIp}) {
      refusals_[static_cast<std::size_t>(each)].clear();
    }
  }
  known = std::move(reason);
}

std::string GatedSockets::shortfall() const {
  std::string sentence;
  for (std::size_t i = 0; i < refusals_.size(); ++i) {
    if (refusals_[i].empty()) continue;
    if (!sentence.empty()) sentence += "; ";
    sentence += std::string(kNames[i]) + ": " + refusals_[i];
  }
  return sentence;
}

}  // namespace natt::spa::gate
