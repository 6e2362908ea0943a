// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/gateway_streams.h"

#include <algorithm>

#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

GatewayStreams::GatewayStreams(uv_loop_s& loop, ServerTunnels& server, const GatewayPolicy& policy, LogSink log, Owner& owner)
    : loop_(loop), server_(server), policy_(policy), log_(log), owner_(owner), resolver_(loop) {}

GatewayStreams::~GatewayStreams() = default;

Result<void> GatewayStreams::open_ip(const GatewayTunOptions& options, Random& random) {
  auto service = IpService::open(loop_, options, policy_, server_, random, log_, *this);
  if (!service) return tl::unexpected(service.error());
  ip_ = std::move(*service);
  return {};
}

void GatewayStreams::handle_request(Instant now, const Request& request) {
  // Before anything is done for the client, a name look-up included.
  if (!policy_.knows(request.identity)) return deny(request, StreamDial::kForbidden, "no entitlements");
  if (request.protocol == Protocol::kIp) return open_tunnel(request);
  open_.insert_or_assign(request.stream, OpenStream{.client = request.identity,
                                                    .protocol = request.protocol,
                                                    .target = request.target,
                                                    .address = std::nullopt});
  if (const auto literal = request.target.ip()) return on_resolved(now, request, {*literal});
  resolve(now, request);
}

void GatewayStreams::resolve(Instant now, const Request& request) {
  const auto same_client = std::count_if(open_.begin(), open_.end(), [&](const auto& entry) {
    return entry.second.client == request.identity && !entry.second.address && !dials_.contains(entry.first);
  });
  if (static_cast<std::size_t>(same_client) > kMaxLookupsPerClient) {
    open_.erase(request.stream);
    return deny(request, 503, "too many names are being resolved for this client");
  }
  const auto asked =
      resolver_.resolve(request.target.host, [this, request](const Result<std::vector<IpAddress>>& addresses) {
        const Instant later = natt::uv::now();
        if (!open_.contains(request.stream)) return;  // ended meanwhile, or its client is gone
        if (addresses) return on_resolved(later, request, *addresses);
        open_.erase(request.stream);
        deny(request, StreamDial::kBadGateway, addresses.error().message);
        owner_.on_streams_progress(later);
      });
  static_cast<void>(now);
  if (asked) return;
  open_.erase(request.stream);
  deny(request, StreamDial::kBadGateway, asked.error().message);
}

void GatewayStreams::on_resolved(Instant now, const Request& request, const std::vector<IpAddress>& addresses) {
  if (request.protocol == Protocol::kTcp) {
    start_dial(now, request, addresses);
  } else {
    start_flow(request, addresses);
  }
  owner_.on_streams_progress(now);
}

void GatewayStreams::deny(const Request& request, int status, const std::string& reason) {
  log_(LogLevel::kWarning, "natt.stream.denied client=" + request.identity.uri() +
                               " protocol=" + std::string(to_string(request.protocol)) + " target=" +
                               request.target.to_string() + " status=" + std::to_string(status) + " reason=\"" +
                               reason + "\"");
  server_.reject(request.stream, status, reason);
}

void GatewayStreams::start_dial(Instant now, const Request& request, const std::vector<IpAddress>& addresses) {
  auto dial = std::make_unique<StreamDial>(loop_, policy_, request.identity, request.stream, request.target, addresses,
                                           static_cast<StreamDial::Owner&>(*this));
  StreamDial& started = *dial;
  dials_.insert_or_assign(request.stream, std::move(dial));
  started.start(now);
}

void GatewayStreams::end_dial(StreamId stream) {
  const auto dial = dials_.find(stream);
  if (dial == dials_.end()) return;
  ended_dials_.push_back(std::move(dial->second));  // it may be what called us
  dials_.erase(dial);
}

void GatewayStreams::on_dialled(Instant now, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection) {
  OpenStream& open = open_.at(stream);
  open.address = connection->remote_address().ip;
  log_(LogLevel::kDebug, "natt.stream.open client=" + open.client.uri() +
                             " target=" + connection->remote_address().to_string());
  end_dial(stream);
  server_.accept(stream);
  auto bridge = std::make_unique<StreamBridge>(server_, stream, std::move(connection),
                                               static_cast<StreamBridge::Owner&>(*this));
  StreamBridge& started = *bridge;
  bridges_.insert_or_assign(stream, std::move(bridge));
  started.start(now);
  if (open.finished) started.handle_finished(now);
}

void GatewayStreams::on_dial_failed(Instant now, StreamId stream, int status, const std::string& reason) {
  const std::string_view event = status == StreamDial::kForbidden ? "natt.stream.denied" : "natt.stream.failed";
  log_(LogLevel::kWarning, std::string(event) + " client=" + open_.at(stream).client.uri() +
                               " protocol=tcp target=" + open_.at(stream).target.to_string() +
                               " status=" + std::to_string(status) + " reason=\"" + reason + "\"");
  server_.reject(stream, status, reason);
  end_dial(stream);
  open_.erase(stream);
  owner_.on_streams_progress(now);
}

void GatewayStreams::start_flow(const Request& request, const std::vector<IpAddress>& addresses) {
  const auto verdict = policy_.check_stream(request.identity, Protocol::kUdp, request.target, addresses);
  if (!verdict.allowed || verdict.addresses.empty()) {
    open_.erase(request.stream);
    return deny(request, StreamDial::kForbidden, verdict.reason);
  }
  const SocketAddress to{verdict.addresses.front(), request.target.port};
  auto flow = UdpFlow::open(loop_, server_, request.stream, to, static_cast<UdpFlow::Owner&>(*this));
  if (!flow) {
    open_.erase(request.stream);
    return deny(request, StreamDial::kBadGateway, flow.error().message);
  }
  open_.at(request.stream).address = to.ip;
  server_.accept(request.stream);
  flows_.insert_or_assign(request.stream, std::move(*flow));
}

void GatewayStreams::open_tunnel(const Request& request) {
  if (!ip_) return deny(request, 501, "this gateway has no TUN device: [tun] enabled = false");
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
    if (auto* to = bridge(finished->stream)) {
      to->handle_finished(now);
    } else if (const auto open = open_.find(finished->stream); open != open_.end()) {
      open->second.finished = true;  // said again once the target is dialled
    }
  } else if (const auto* reset = std::get_if<StreamReset>(&event)) {
    if (auto* to = bridge(reset->stream)) {
      to->handle_reset(now);
    } else {
      server_.reset(reset->stream, kRequestCancelled);
      forget(reset->stream);
    }
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
  open_.erase(stream);
}

void GatewayStreams::forget(StreamId stream) {
  dials_.erase(stream);
  flows_.erase(stream);
  open_.erase(stream);
  if (ip_) ip_->remove_client(stream);
}

void GatewayStreams::drop_connection(ConnectionId connection) {
  const auto of_connection = [&](const auto& entry) { return entry.first.connection == connection; };
  if (ip_) ip_->remove_connection(connection);
  std::erase_if(dials_, of_connection);
  std::erase_if(bridges_, of_connection);
  std::erase_if(flows_, of_connection);
  std::erase_if(open_, of_connection);
}

void GatewayStreams::collect() {
  ended_dials_.clear();
  ended_bridges_.clear();
}

bool GatewayStreams::still_allowed(const OpenStream& stream) const {
  // What is still being resolved or dialled is judged with the new policy anyway, or was judged with the old one: then
  // it is dialled anew.
  if (!stream.address) return false;
  return policy_.check_stream(stream.client, stream.protocol, stream.target, {*stream.address}).allowed;
}

void GatewayStreams::handle_policy_change(Instant now) {
  std::vector<StreamId> denied;
  for (const auto& [id, stream] : open_) {
    if ((stream.address || dials_.contains(id)) && !still_allowed(stream)) denied.push_back(id);
  }
  for (const StreamId id : denied) {
    log_(LogLevel::kWarning, "natt.stream.ended client=" + open_.at(id).client.uri() +
                                 " target=" + open_.at(id).target.to_string() + " reason=\"no rule allows it any more\"");
    server_.reset(id, kConnectError);
    if (const auto bridge = bridges_.find(id); bridge != bridges_.end()) bridge->second->handle_reset(now);
    flows_.erase(id);
    end_dial(id);
  }
  if (ip_) ip_->clear_flows();
}

std::size_t GatewayStreams::size() const { return dials_.size() + bridges_.size() + flows_.size(); }

}  // namespace natt::tunnel::uv
