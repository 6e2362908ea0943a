// SPDX-License-Identifier: Apache-2.0
#include "apps/client/port_forward.h"

#include <natt/errc.h>

namespace natt::client {
namespace {

std::optional<tunnel::Authority> target_of(const config::Forward& forward) {
  if (const auto ip = IpAddress::parse(forward.target_host)) {
    return tunnel::Authority::of({*ip, forward.target_port});
  }
  return tunnel::Authority::parse(forward.target_host + ":" + std::to_string(forward.target_port));
}

}  // namespace

Result<std::unique_ptr<PortForward>> PortForward::open(uv_loop_s& loop, const config::Forward& forward,
                                                       tunnel::uv::SiteClient& client, LogSink log) {
  auto target = target_of(forward);
  if (!target) return fail(Errc::kMalformed, "[[forward]] target: " + forward.target_host + " is no host");
  std::unique_ptr<PortForward> opened(new PortForward(forward, std::move(*target), client, log));
  auto listener = natt::uv::TcpListener::open(loop, {.bind = forward.listen}, *opened);
  if (!listener) return tl::unexpected(listener.error());
  opened->listener_ = std::move(*listener);
  return opened;
}

void PortForward::on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  log_(LogLevel::kDebug, "natt.forward.accepted listen=" + forward_.listen.to_string() +
                             " from=" + connection->remote_address().to_string());
  const auto request = client_.open_stream(now, forward_.gateway, target_);
  // Joined before the answer: the application's first bytes travel with the request.
  client_.attach(now, request, std::move(connection));
}

}  // namespace natt::client
