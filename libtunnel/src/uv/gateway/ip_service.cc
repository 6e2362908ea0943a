// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/ip_service.h"

#include <algorithm>

#include <natt/uv/timer.h>

namespace natt::tunnel::uv {
namespace {

std::string describe(const FlowKey& flow) {
  return SocketAddress{flow.source, flow.source_port}.to_string() + "->" +
         SocketAddress{flow.destination, flow.destination_port}.to_string() + "/" +
         std::to_string(static_cast<int>(flow.protocol));
}

bool is_inside_another(const IpPrefix& route, const std::vector<IpPrefix>& routes) {
  return std::any_of(routes.begin(), routes.end(), [&](const IpPrefix& other) {
    return other.length < route.length && other.contains(route.base);
  });
}

}  // namespace

Result<std::unique_ptr<IpService>> IpService::open(uv_loop_s& loop, const GatewayTunOptions& options,
                                                   const GatewayPolicy& policy, Streams& streams, Random& random,
                                                   LogSink log, Owner& owner) {
  std::unique_ptr<IpService> service(new IpService(options, policy, streams, random, log, owner));
  auto device = TunDevice::open(&loop, {.name = options.name}, *service);
  if (!device) return tl::unexpected(device.error());
  service->device_ = std::move(*device);
  if (auto configured = service->configure(); !configured) return tl::unexpected(configured.error());
  return service;
}

IpService::IpService(const GatewayTunOptions& options, const GatewayPolicy& policy, Streams& streams, Random& random,
                     LogSink log, Owner& owner)
    : options_(options),
      policy_(policy),
      streams_(streams),
      random_(random),
      log_(log),
      owner_(owner),
      pool_(options.pool) {}

Result<void> IpService::configure() {
  for (const IpPrefix& own : pool_.own_addresses()) {
    if (auto added = device_->add_address(own); !added) return added;
  }
  return {};
}

bool IpService::add_client(const Identity& client, StreamId stream) {
  Client entry{.identity = client, .addresses = pool_.assign(client)};
  if (entry.addresses.empty()) return false;
  entry.flows = std::make_unique<FlowTable>(random_.next_u64());
  for (const IpPrefix& address : entry.addresses) by_address_.insert_or_assign(address.base, stream);
  const auto& added = clients_.insert_or_assign(stream, std::move(entry)).first->second;
  advertise(stream, added);
  log_(LogLevel::kInfo, "natt.ip.assigned client=" + client.uri() + " address=" + added.addresses[0].base.to_string());
  return true;
}

void IpService::advertise(StreamId stream, const Client& client) {
  AddressAssign assign;
  for (const IpPrefix& address : client.addresses) assign.addresses.push_back({0, address});
  std::vector<IpRange> ranges;
  // RFC 9484 section 4.7.3: ranges must not overlap, so a route inside another is not told.
  for (const IpPrefix& route : options_.routes) {
    if (!is_inside_another(route, options_.routes)) ranges.push_back(range_of(route));
  }
  auto routes = make_route_advertisement(std::move(ranges));
  if (auto sent = streams_.send_capsule(stream, assign); !sent) {
    log_(LogLevel::kWarning, "natt.ip.assign_failed reason=\"" + sent.error().message + "\"");
  }
  if (!routes) return log_(LogLevel::kError, "natt.ip.routes_failed reason=\"[tun] routes overlap\"");
  if (auto sent = streams_.send_capsule(stream, *routes); !sent) {
    log_(LogLevel::kWarning, "natt.ip.routes_failed reason=\"" + sent.error().message + "\"");
  }
}

void IpService::remove_client(StreamId stream) {
  const auto found = clients_.find(stream);
  if (found == clients_.end()) return;
  for (const IpPrefix& address : found->second.addresses) {
    const auto owner = by_address_.find(address.base);
    if (owner != by_address_.end() && owner->second == stream) by_address_.erase(owner);
  }
  const Identity identity = found->second.identity;
  clients_.erase(found);
  const bool others = std::any_of(clients_.begin(), clients_.end(),
                                  [&](const auto& entry) { return entry.second.identity == identity; });
  if (!others) pool_.release(identity);
}

void IpService::remove_connection(ConnectionId connection) {
  std::vector<StreamId> gone;
  for (const auto& [stream, client] : clients_) {
    if (stream.connection == connection) gone.push_back(stream);
  }
  for (const StreamId stream : gone) remove_client(stream);
}

void IpService::clear_flows() {
  for (auto& [stream, client] : clients_) client.flows->clear();
}

void IpService::handle_packet(Instant now, StreamId stream, ByteView packet) {
  const auto found = clients_.find(stream);
  const auto parsed = InnerPacket::parse(packet);
  if (found == clients_.end() || !parsed) return;
  if (!allows(now, found->second, *parsed)) return;
  found->second.flows->note_outgoing(now, *parsed);
  device_->send(packet);
}

bool IpService::allows(Instant now, Client& client, const InnerPacket& packet) {
  const bool own_source = std::any_of(client.addresses.begin(), client.addresses.end(),
                                      [&](const IpPrefix& own) { return own.base == packet.flow.source; });
  if (!own_source) {
    deny(client, packet, "the source is not the assigned address");
    return false;
  }
  if (client.flows->knows(now, packet)) return true;
  GatewayPolicy::Verdict verdict = policy_.check_packet(client.identity, packet);
  if (!verdict.allowed) deny(client, packet, verdict.reason);
  return verdict.allowed;
}

void IpService::deny(Client& client, const InnerPacket& packet, const std::string& reason) {
  // A scanning client would fill the log: the first of each power of two is told.
  const std::uint64_t count = ++client.denied;
  if ((count & (count - 1)) != 0) return;
  log_(LogLevel::kWarning, "natt.ip.denied client=" + client.identity.uri() + " flow=" + describe(packet.flow) +
                               " denied=" + std::to_string(count) + " reason=\"" + reason + "\"");
}

void IpService::on_packet(ByteView packet) {
  const auto parsed = InnerPacket::parse(packet);
  if (!parsed) return;
  const auto owner = by_address_.find(parsed->flow.destination);
  if (owner == by_address_.end()) return;
  Client& client = clients_.at(owner->second);
  if (!client.flows->allows_return(natt::uv::now(), *parsed)) return;
  static_cast<void>(streams_.send_datagram(owner->second, packet));
}

void IpService::on_burst_end() { owner_.on_ip_progress(natt::uv::now()); }

void IpService::on_error(const Error& error) {
  log_(LogLevel::kError, "natt.ip.device_failed reason=\"" + error.message + "\"");
}

}  // namespace natt::tunnel::uv
