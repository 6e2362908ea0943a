// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_streams.h"

#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

GatewayStreams::GatewayStreams(uv_loop_s& loop, Server& server, const GatewayPolicy& policy, LogSink log, Owner& owner)
    : loop_(loop), server_(server), policy_(policy), log_(log), owner_(owner), resolver_(loop) {}

GatewayStreams::~GatewayStreams() = default;

Result<void> GatewayStreams::open_ip(const GatewayTunOptions& options, Random& random) {
  auto service = IpService::open(loop_, options, policy_, server_, random, log_, *this);
  if (!service) return tl::unexpected(service.error());
  ip_ = std::move(*service);
  return {};
}

void GatewayStreams::handle_request(Instant now, const Request& request) {
  switch (request.protocol) {
    case Protocol::kTcp: return open_tcp(now, request);
    case Protocol::kUdp: return open_udp(now, request);
    case Protocol::kIp: return open_tunnel(request);
  }
}

void GatewayStreams::deny(const Request& request, int status, const std::string& reason) {
  log_(LogLevel::kWarning, "natt.stream.denied client=" + request.identity.uri() +
                               " protocol=" + std::string(to_string(request.protocol)) + " target=" +
                               request.target.to_string() + " status=" + std::to_string(status) + " reason=\"" +
                               reason + "\"");
  server_.reject(request.stream, status, reason);
}

void GatewayStreams::open_tcp(Instant now, const Request& request) {
  clients_.insert_or_assign(request.stream, request.identity);
  auto dial = std::make_unique<StreamDial>(loop_, policy_, request.identity, request.stream, request.target,
                                           static_cast<StreamDial::Owner&>(*this));
  StreamDial& started = *dial;
  dials_.insert_or_assign(request.stream, std::move(dial));
  started.start(now);
}

void GatewayStreams::on_dialled(Instant now, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection) {
  log_(LogLevel::kDebug, "natt.stream.open client=" + clients_[stream].uri() +
                             " target=" + connection->remote_address().to_string());
  if (const auto dial = dials_.find(stream); dial != dials_.end()) {
    ended_dials_.push_back(std::move(dial->second));
    dials_.erase(dial);
  }
  server_.accept(stream);
  auto bridge = std::make_unique<StreamBridge>(server_, stream, std::move(connection),
                                               static_cast<StreamBridge::Owner&>(*this));
  StreamBridge& started = *bridge;
  bridges_.insert_or_assign(stream, std::move(bridge));
  started.start(now);
}

void GatewayStreams::on_dial_failed(Instant now, StreamId stream, int status, const std::string& reason) {
  log_(LogLevel::kWarning, "natt.stream.denied client=" + clients_[stream].uri() +
                               " protocol=tcp status=" + std::to_string(status) + " reason=\"" + reason + "\"");
  server_.reject(stream, status, reason);
  if (const auto dial = dials_.find(stream); dial != dials_.end()) {
    ended_dials_.push_back(std::move(dial->second));
    dials_.erase(dial);
  }
  clients_.erase(stream);
  owner_.on_streams_progress(now);
}

void GatewayStreams::open_udp(Instant now, const Request& request) {
  if (const auto literal = request.target.ip()) return start_flow(now, request, {*literal});
  const auto asked =
      resolver_.resolve(request.target.host, [this, request](const Result<std::vector<IpAddress>>& addresses) {
        const Instant later = natt::uv::now();
        if (addresses) {
          start_flow(later, request, *addresses);
        } else {
          deny(request, StreamDial::kBadGateway, addresses.error().message);
        }
        owner_.on_streams_progress(later);
      });
  if (!asked) deny(request, StreamDial::kBadGateway, asked.error().message);
}

void GatewayStreams::start_flow(Instant, const Request& request, const std::vector<IpAddress>& resolved) {
  const auto verdict = policy_.check_stream(request.identity, Protocol::kUdp, request.target, resolved);
  if (!verdict.allowed || verdict.addresses.empty()) return deny(request, StreamDial::kForbidden, verdict.reason);
  auto flow = UdpFlow::open(loop_, server_, request.stream, {verdict.addresses.front(), request.target.port},
                            static_cast<UdpFlow::Owner&>(*this));
  if (!flow) return deny(request, StreamDial::kBadGateway, flow.error().message);
  server_.accept(request.stream);
  flows_.insert_or_assign(request.stream, std::move(*flow));
}

void GatewayStreams::open_tunnel(const Request& request) {
  if (!ip_) return deny(request, 501, "this gateway has no TUN device: [tun] enabled = false");
  if (!policy_.knows(request.identity)) return deny(request, StreamDial::kForbidden, "no entitlements");
  server_.accept(request.stream);
  if (!ip_->add_client(request.identity, request.stream)) {
    log_(LogLevel::kWarning, "natt.ip.pool_empty client=" + request.identity.uri());
    server_.reset(request.stream, kConnectError);
  }
}

void GatewayStreams::handle_event(Instant now, const ServerEvent& event) {
  const auto bridge = [this](StreamId stream) -> StreamBridge* {
    const auto found = bridges_.find(stream);
    return found == bridges_.end() ? nullptr : found->second.get();
  };
  if (const auto* readable = std::get_if<Readable>(&event)) {
    if (auto* to = bridge(readable->stream)) to->handle_readable(now);
  } else if (const auto* writable = std::get_if<Writable>(&event)) {
    if (auto* to = bridge(writable->stream)) to->handle_writable(now);
  } else if (const auto* finished = std::get_if<Finished>(&event)) {
    if (auto* to = bridge(finished->stream)) to->handle_finished(now);
  } else if (const auto* reset = std::get_if<StreamReset>(&event)) {
    if (auto* to = bridge(reset->stream)) to->handle_reset(now);
  } else if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    if (auto* to = bridge(closed->stream)) {
      to->handle_stream_closed(now);
    } else {
      forget(closed->stream);
    }
  }
}

void GatewayStreams::handle_datagrams(Instant now) {
  while (auto datagram = server_.poll_datagram()) {
    if (const auto flow = flows_.find(datagram->stream); flow != flows_.end()) {
      flow->second->send(datagram->payload);
    } else if (ip_) {
      ip_->handle_packet(now, datagram->stream, datagram->payload);
    }
  }
}

void GatewayStreams::on_bridge_done(Instant, StreamId stream) {
  const auto found = bridges_.find(stream);
  if (found == bridges_.end()) return;
  ended_bridges_.push_back(std::move(found->second));
  bridges_.erase(found);
  clients_.erase(stream);
}

void GatewayStreams::forget(StreamId stream) {
  dials_.erase(stream);
  flows_.erase(stream);
  clients_.erase(stream);
  if (ip_) ip_->remove_client(stream);
}

void GatewayStreams::drop_connection(ConnectionId connection) {
  const auto of_connection = [&](const auto& entry) { return entry.first.connection == connection; };
  if (ip_) ip_->remove_connection(connection);
  std::erase_if(dials_, of_connection);
  std::erase_if(bridges_, of_connection);
  std::erase_if(flows_, of_connection);
  std::erase_if(clients_, of_connection);
}

void GatewayStreams::collect() {
  ended_dials_.clear();
  ended_bridges_.clear();
}

void GatewayStreams::handle_policy_change() {
  if (ip_) ip_->clear_flows();
}

std::size_t GatewayStreams::size() const { return dials_.size() + bridges_.size() + flows_.size(); }

}  // namespace natt::tunnel::uv
