// SPDX-License-Identifier: Apache-2.0
#pragma once

// `[[forward]]`: connections accepted at a local address are carried to one target behind a
// gateway. The tunnel is raced for when the first one comes. Resource type on the loop;
// client and waiters outlive it.

#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/tcp_listener.h>

#include "apps/config/client_config.h"
#include "apps/client/local_stream.h"

namespace natt::client {

class PortForward final : private natt::uv::TcpListener::Listener {
 public:
  // Errors name the address: in use, no privilege for the port.
  [[nodiscard]] static Result<std::unique_ptr<PortForward>> open(uv_loop_s& loop, const config::Forward& forward,
                                                                 tunnel::uv::SiteClient& client, LogSink log);
  PortForward(const PortForward&) = delete;
  PortForward& operator=(const PortForward&) = delete;

 private:
  PortForward(const config::Forward& forward, tunnel::Authority target, tunnel::uv::SiteClient& client, LogSink log)
      : forward_(forward), target_(std::move(target)), client_(client), log_(log) {}
  void on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;

  config::Forward forward_;
  tunnel::Authority target_;
  tunnel::uv::SiteClient& client_;
  LogSink log_;
  std::unique_ptr<natt::uv::TcpListener> listener_;
};

}  // namespace natt::client
