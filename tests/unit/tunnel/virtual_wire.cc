// SPDX-License-Identifier: Apache-2.0
#include "unit/tunnel/virtual_wire.h"

#include <algorithm>
#include <utility>

namespace natt::test {

void VirtualWire::attach(tunnel::Client& client, PathId path, WirePath properties) {
  clients_.push_back(&client);
  join(client, path, properties);
}

void VirtualWire::join(tunnel::Client& client, PathId path, WirePath properties) {
  paths_[path] = {&client, properties};
}

void VirtualWire::detach(tunnel::Client& client) {
  std::erase(clients_, &client);
  for (auto& [id, path] : paths_) {
    if (path.client == &client) path.client = nullptr;
  }
}

bool VirtualWire::chance(double probability) {
  return probability > 0 && static_cast<double>(random_.uniform(1'000'000)) < probability * 1'000'000;
}

void VirtualWire::flush() {
  while (server_.poll_batch(now_, *batch_)) send(false, *batch_);
  for (tunnel::Client* const client : clients_) {
    while (client->poll_batch(now_, *batch_)) send(true, *batch_);
  }
}

void VirtualWire::send(bool to_server, tunnel::PacketBatch& batch) {
  for (std::size_t i = 0; i < batch.count(); ++i) {
    const MutableBytes bytes = batch.packet(i);
    transmit(to_server, batch.path(), {bytes.begin(), bytes.end()});
  }
}

void VirtualWire::transmit(bool to_server, PathId path, ByteBuffer bytes) {
  if (tap && !tap(to_server, path, bytes)) return;
  ++(to_server ? counters_.to_server : counters_.to_client);
  (to_server ? counters_.bytes_to_server : counters_.bytes_to_client) += bytes.size();
  counters_.largest = std::max(counters_.largest, bytes.size());
  const auto found = paths_.find(path);
  if (found == paths_.end()) return;
  const WirePath& properties = found->second.properties;
  if (properties.black || bytes.size() > properties.mtu || chance(properties.loss)) {
    ++counters_.lost;
    return;
  }
  const auto jitter = Duration(static_cast<Duration::rep>(
      random_.uniform(static_cast<std::uint64_t>(properties.jitter.count()) + 1)));
  if (chance(properties.duplication)) schedule(to_server, path, bytes, now_ + properties.latency);
  schedule(to_server, path, std::move(bytes), now_ + properties.latency + jitter);
}

void VirtualWire::schedule(bool to_server, PathId path, ByteBuffer bytes, Instant at) {
  queue_.push({at, order_++, to_server, path, std::move(bytes)});
}

void VirtualWire::deliver(const Packet& packet) {
  if (packet.to_server) {
    server_.handle_packet(now_, packet.path, 0, packet.bytes);
    return;
  }
  const auto found = paths_.find(packet.path);
  if (found == paths_.end() || found->second.client == nullptr || found->second.properties.black) return;
  found->second.client->handle_packet(now_, packet.path, 0, packet.bytes);
}

void VirtualWire::fire_timers() {
  if (const auto deadline = server_.next_deadline(); deadline && *deadline <= now_) server_.handle_timeout(now_);
  for (tunnel::Client* const client : clients_) {
    if (const auto deadline = client->next_deadline(); deadline && *deadline <= now_) client->handle_timeout(now_);
  }
}

std::optional<Instant> VirtualWire::next_event() const {
  std::optional<Instant> next = server_.next_deadline();
  for (const tunnel::Client* const client : clients_) next = earlier(next, client->next_deadline());
  if (!queue_.empty()) next = earlier(next, queue_.top().at);
  return next;
}

void VirtualWire::deliver_due() {
  while (!queue_.empty() && queue_.top().at <= now_) {
    const Packet packet = queue_.top();
    queue_.pop();
    deliver(packet);
  }
}

}  // namespace natt::test
