// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/stream_dial.h"

#include <natt/errc.h>
#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

StreamDial::StreamDial(uv_loop_s& loop, const GatewayPolicy& policy, Identity client, StreamId stream,
                       Authority target, std::vector<IpAddress> addresses, Owner& owner)
    : loop_(loop),
      policy_(policy),
      client_(std::move(client)),
      stream_(stream),
      target_(std::move(target)),
      owner_(owner),
      addresses_(std::move(addresses)) {}

StreamDial::~StreamDial() = default;

void StreamDial::start(Instant now) {
  GatewayPolicy::Verdict verdict = policy_.check_stream(client_, Protocol::kTcp, target_, addresses_);
  if (!verdict.allowed) return owner_.on_dial_failed(now, stream_, kForbidden, verdict.reason);
  addresses_ = std::move(verdict.addresses);
  dial_next(now);
}

void StreamDial::dial_next(Instant now) {
  while (next_address_ < addresses_.size()) {
    const SocketAddress to{addresses_[next_address_++], target_.port};
    auto connection =
        natt::uv::TcpConnection::connect(loop_, {.to = to, .from = {}, .timeout = kConnectTimeout}, *this);
    if (connection) {
      connection_ = std::move(*connection);
      return;
    }
    last_error_ = connection.error();
  }
  const bool timed_out = last_error_.code == make_error_code(natt::Errc::kTimeout);
  owner_.on_dial_failed(now, stream_, timed_out ? kGatewayTimeout : kBadGateway, last_error_.message);
}

void StreamDial::on_connected(Instant now) { owner_.on_dialled(now, stream_, std::move(connection_)); }

void StreamDial::on_closed(Instant now, const Error& error) {
  last_error_ = error;
  connection_.reset();
  dial_next(now);
}

}  // namespace natt::tunnel::uv
