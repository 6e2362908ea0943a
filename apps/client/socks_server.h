// SPDX-License-Identifier: Apache-2.0
#pragma once

// `[socks]`: a SOCKS5 port (RFC 1928) whose connections are carried to wherever the
// application asks, as far as the gateway allows. Resource type on the loop; client and
// waiters outlive it.

#include <map>
#include <memory>

#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/tcp_listener.h>

#include "apps/client/local_stream.h"
#include "apps/config/client_config.h"

namespace natt::client {

class SocksServer final : private natt::uv::TcpListener::Listener {
 public:
  // Connections that have not finished their handshake; more are closed at once.
  static constexpr std::size_t kMaxPending = 1024;

  // Listens where `options` says, which is set: a loopback address, or a UNIX socket that is made 0600.
  [[nodiscard]] static Result<std::unique_ptr<SocksServer>> open(uv_loop_s& loop, const config::SocksConfig& options,
                                                                 tunnel::uv::SiteClient& client,
                                                                 StreamWaiters& waiters, LogSink log);
  ~SocksServer() override;
  SocksServer(const SocksServer&) = delete;
  SocksServer& operator=(const SocksServer&) = delete;

 private:
  class Session;
  SocksServer(uv_loop_s& loop, const config::SocksConfig& options, tunnel::uv::SiteClient& client,
              StreamWaiters& waiters, LogSink log);
  void on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  [[nodiscard]] Result<std::unique_ptr<natt::uv::TcpListener>> listen();
  void forget(std::uint64_t session);

  uv_loop_s& loop_;
  config::SocksConfig options_;
  tunnel::uv::SiteClient& client_;
  StreamWaiters& waiters_;
  LogSink log_;
  std::unique_ptr<natt::uv::TcpListener> listener_;
  std::map<std::uint64_t, std::unique_ptr<Session>> sessions_;
  std::uint64_t next_session_ = 1;
};

}  // namespace natt::client
