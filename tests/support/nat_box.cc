// SPDX-License-Identifier: Apache-2.0
#include "support/nat_box.h"

#include <algorithm>

namespace natt::test {

bool NatBox::owns(const IpAddress& ip) const {
  return std::find(options_.outside.begin(), options_.outside.end(), ip) != options_.outside.end();
}

NatBox::Key NatBox::key_of(const SocketAddress& inside, const SocketAddress& destination) const {
  switch (options_.mapping) {
    case NatMapping::kUnknown:
    case NatMapping::kNone:
    case NatMapping::kEndpointIndependent: return {inside, {}, 0};
    case NatMapping::kAddressDependent: return {inside, destination.ip, 0};
    case NatMapping::kAddressAndPortDependent: return {inside, destination.ip, destination.port};
  }
  return {inside, {}, 0};
}

bool NatBox::is_taken(const SocketAddress& outside) const {
  return std::any_of(mappings_.begin(), mappings_.end(),
                     [&](const auto& item) { return item.second.outside == outside; });
}

SocketAddress NatBox::allocate(const SocketAddress& inside) {
  const std::size_t paired = std::hash<IpAddress>{}(inside.ip) % options_.outside.size();
  const std::size_t index = options_.pooling == Pooling::kPaired ? paired : random_.uniform(options_.outside.size());
  SocketAddress outside{options_.outside[index], inside.port};
  if (options_.ports == PortAllocation::kPreserve && !is_taken(outside)) return outside;
  do {
    outside.port = static_cast<std::uint16_t>(1024 + random_.uniform(65536 - 1024));
  } while (is_taken(outside));
  return outside;
}

void NatBox::expire(Instant now) {
  std::erase_if(mappings_, [&](const auto& item) { return now - item.second.used >= options_.mapping_timeout; });
}

SimPacket NatBox::outbound(Instant now, SimPacket packet) {
  expire(now);
  const Key key = key_of(packet.from, packet.to);
  auto found = mappings_.find(key);
  if (found == mappings_.end()) {
    found = mappings_.emplace(key, Mapping{packet.from, allocate(packet.from), now, {}}).first;
  }
  Mapping& mapping = found->second;
  mapping.used = now;
  mapping.contacted.insert(packet.to);
  packet.from = mapping.outside;
  ++stats_.translated_out;
  return packet;
}

bool NatBox::lets_in(const Mapping& mapping, const SocketAddress& source) const {
  switch (options_.filtering) {
    case NatFiltering::kUnknown:
    case NatFiltering::kNone:
    case NatFiltering::kEndpointIndependent: return true;
    case NatFiltering::kAddressDependent:
      return std::any_of(mapping.contacted.begin(), mapping.contacted.end(),
                         [&](const SocketAddress& address) { return address.ip == source.ip; });
    case NatFiltering::kAddressAndPortDependent: return mapping.contacted.contains(source);
  }
  return false;
}

std::optional<SimPacket> NatBox::inbound(Instant now, SimPacket packet) {
  expire(now);
  const auto found = std::find_if(mappings_.begin(), mappings_.end(),
                                  [&](const auto& item) { return item.second.outside == packet.to; });
  if (found == mappings_.end()) {
    ++stats_.dropped_no_mapping;
    return std::nullopt;
  }
  if (!lets_in(found->second, packet.from)) {
    ++stats_.dropped_filtered;
    return std::nullopt;
  }
  if (options_.inbound_refreshes) found->second.used = now;
  packet.to = found->second.inside;
  ++stats_.translated_in;
  return packet;
}

}  // namespace natt::test
