// SPDX-License-Identifier: Apache-2.0
#pragma once

// Opens the TCP connection that a client asked for: checks what the name resolved to, and
// dials only what the policy returned, one address after the other. Resource type; destroying cancels.

#include <memory>
#include <string>
#include <vector>

#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

class StreamDial final : private natt::uv::TcpConnection::Listener {
 public:
  // HTTP statuses of RFC 9110 that a refusal maps to.
  static constexpr int kForbidden = 403;
  static constexpr int kBadGateway = 502;
  static constexpr int kGatewayTimeout = 504;

  class Owner {
   public:
    virtual ~Owner() = default;
    // Both end the dial; the owner may destroy it in the call.
    virtual void on_dialled(Instant now, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection) = 0;
    virtual void on_dial_failed(Instant now, StreamId stream, int status, const std::string& reason) = 0;
  };

  // `addresses` is what the target's name resolved to, or the address that was asked for.
  StreamDial(uv_loop_s& loop, const GatewayPolicy& policy, Identity client, StreamId stream, Authority target,
             std::vector<IpAddress> addresses, Owner& owner);
  ~StreamDial() override;
  StreamDial(const StreamDial&) = delete;
  StreamDial& operator=(const StreamDial&) = delete;

  // May call the owner at once.
  void start(Instant now);

 private:
  // Per address; the client's own time-out is longer.
  static constexpr Duration kConnectTimeout = std::chrono::seconds(10);

  void on_connected(Instant now) override;
  void on_bytes(Instant, ByteView) override {}
  void on_eof(Instant) override {}
  void on_drained(Instant) override {}
  void on_closed(Instant now, const Error& error) override;

  void dial_next(Instant now);

  uv_loop_s& loop_;
  const GatewayPolicy& policy_;
  Identity client_;
  StreamId stream_;
  Authority target_;
  Owner& owner_;
  std::vector<IpAddress> addresses_;
  std::size_t next_address_ = 0;
  Error last_error_;
  std::unique_ptr<natt::uv::TcpConnection> connection_;
};

}  // namespace natt::tunnel::uv
