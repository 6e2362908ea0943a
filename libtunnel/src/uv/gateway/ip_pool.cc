// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/ip_pool.h"

namespace natt::tunnel::uv {
namespace {

constexpr std::uint64_t kMaxOffset = 1 << 20;  // a million clients on one gateway; a larger pool is used in part

// base + offset in the last 64 bits, which is where every pool's host part is counted.
IpAddress at_offset(const IpPrefix& pool, std::uint64_t offset) {
  auto octets = pool.base.octets();
  store_be(octets.data() + 8, load_be<std::uint64_t>(octets.data() + 8) + offset);
  return IpAddress::v6(octets);
}

// Offsets 0 (network) and, for IPv4, the last (broadcast) are not given out; 1 is the gateway's.
std::uint64_t end_offset(const IpPrefix& pool) {
  const unsigned host_bits = 128U - pool.length;
  if (host_bits >= 20) return kMaxOffset;
  const std::uint64_t size = std::uint64_t{1} << host_bits;
  return pool.base.is_v4() ? size - 1 : size;
}

}  // namespace

std::vector<IpPrefix> IpPool::own_addresses() const {
  std::vector<IpPrefix> own;
  for (const IpPrefix& pool : pools_) own.push_back({at_offset(pool, 1), pool.length});
  return own;
}

std::optional<IpAddress> IpPool::pick(const IpPrefix& pool, const Identity& client) const {
  // Starting at a point that depends on the client keeps addresses stable over restarts.
  const std::uint64_t end = end_offset(pool);
  if (end <= 2) return std::nullopt;
  const std::uint64_t span = end - 2;
  const std::uint64_t start = std::hash<std::string>{}(client.uri()) % span;
  for (std::uint64_t step = 0; step < span; ++step) {
    const IpAddress address = at_offset(pool, 2 + (start + step) % span);
    if (!is_taken(address)) return address;
  }
  return std::nullopt;
}

std::optional<IpAddress> IpPool::owned(const IpPrefix& pool, const Identity& client) const {
  for (const auto& [address, owner] : owners_) {
    if (owner == client && pool.contains(address)) return address;
  }
  return std::nullopt;
}

std::vector<IpPrefix> IpPool::assign(const Identity& client) {
  std::vector<IpPrefix> assigned;
  for (const IpPrefix& pool : pools_) {
    auto address = owned(pool, client);
    if (!address) address = pick(pool, client);
    if (!address) continue;
    owners_.emplace(*address, client);
    assigned.push_back({*address, 128});
  }
  return assigned;
}

void IpPool::release(const Identity& client) {
  std::erase_if(owners_, [&](const auto& entry) { return entry.second == client; });
}

}  // namespace natt::tunnel::uv
