// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/flow_table.h>

#include <algorithm>

namespace natt::tunnel {

FlowTable::FlowTable(std::uint64_t hash_key, std::size_t capacity, FlowTimeouts timeouts)
    : capacity_(std::max<std::size_t>(capacity, 1)), timeouts_(timeouts), entries_(0, KeyedHash{hash_key | 1}) {}

// Keyed: destinations are the client's choice, and it must not be able to pile them up in one bucket.
std::size_t FlowTable::KeyedHash::operator()(const FlowKey& flow) const noexcept {
  const auto mix = [this](std::uint64_t state, std::uint64_t word) {
    state = (state ^ word) * key;
    return state ^ (state >> 29);
  };
  std::uint64_t state = key;
  for (const IpAddress* const address : {&flow.source, &flow.destination}) {
    state = mix(state, load_be<std::uint64_t>(address->octets().data()));
    state = mix(state, load_be<std::uint64_t>(address->octets().data() + 8));
  }
  const auto ports = (std::uint64_t{flow.source_port} << 16) | flow.destination_port;
  return static_cast<std::size_t>(mix(state, (ports << 8) | static_cast<std::uint64_t>(flow.protocol)));
}

Duration FlowTable::timeout_of(const Entry& entry) const {
  switch (entry.flow.protocol) {
    case IpProtocol::kTcp:
      return entry.phase == TcpPhase::kEstablished ? timeouts_.tcp_established : timeouts_.tcp_transitory;
    case IpProtocol::kUdp: return timeouts_.udp;
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpV6: return timeouts_.icmp;
  }
  return timeouts_.icmp;
}

bool FlowTable::knows(Instant now, const InnerPacket& packet) const {
  if (packet.flow.is_icmp() && !packet.is_echo_request()) return false;
  const auto found = entries_.find(packet.flow);
  return found != entries_.end() && now - found->second->last_seen < timeout_of(*found->second);
}

FlowTable::Order::iterator FlowTable::find_live(Instant now, const FlowKey& flow) {
  const auto found = entries_.find(flow);
  if (found == entries_.end()) return order_.end();
  const auto entry = found->second;
  if (now - entry->last_seen < timeout_of(*entry)) return entry;
  entries_.erase(found);
  order_.erase(entry);
  return order_.end();
}

// A handshake is over when the second side has acknowledged; either FIN or RST begins the end.
void FlowTable::touch(Instant now, Order::iterator entry, const InnerPacket& packet) {
  entry->last_seen = now;
  order_.splice(order_.begin(), order_, entry);
  if (packet.flow.protocol != IpProtocol::kTcp) return;
  if (packet.has(TcpFlags::kFin) || packet.has(TcpFlags::kRst)) {
    entry->phase = TcpPhase::kEnding;
  } else if (packet.has(TcpFlags::kSyn) && !packet.has(TcpFlags::kAck)) {
    entry->phase = TcpPhase::kOpening;  // the port is used again
  } else if (entry->phase == TcpPhase::kOpening && packet.has(TcpFlags::kAck) && !packet.has(TcpFlags::kSyn)) {
    entry->phase = TcpPhase::kEstablished;
  }
}

void FlowTable::note_outgoing(Instant now, const InnerPacket& packet) {
  if (packet.flow.is_icmp() && !packet.is_echo_request()) return;
  auto entry = find_live(now, packet.flow);
  if (entry == order_.end()) {
    if (entries_.size() == capacity_) {
      entries_.erase(order_.back().flow);
      order_.pop_back();
    }
    order_.push_front({packet.flow, now});
    entry = order_.begin();
    entries_.emplace(packet.flow, entry);
  }
  touch(now, entry, packet);
}

bool FlowTable::allows_return(Instant now, const InnerPacket& packet) {
  if (packet.quoted) {
    // Quotes a packet the client sent, and comes to the client. It does not keep the flow alive.
    return packet.quoted->source == packet.flow.destination && find_live(now, *packet.quoted) != order_.end();
  }
  // An echo request from outside is no answer to the client's.
  if (packet.flow.protocol == IpProtocol::kIcmp && packet.icmp_type != 0) return false;
  if (packet.flow.protocol == IpProtocol::kIcmpV6 && packet.icmp_type != 129) return false;
  const auto entry = find_live(now, packet.flow.reversed());
  if (entry == order_.end()) return false;
  // A new connection from outside over an old one's ports is not what the client asked for.
  if (packet.has(TcpFlags::kSyn) && !packet.has(TcpFlags::kAck)) return false;
  touch(now, entry, packet);
  return true;
}

void FlowTable::clear() {
  entries_.clear();
  order_.clear();
}

}  // namespace natt::tunnel
