// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tunnel addresses for clients, one per client and pool however many tunnels it has. A
// client that comes back gets the address it had, unless somebody else needed it. Value-like owner, one thread.

#include <map>
#include <optional>
#include <vector>

#include <natt/address.h>
#include <natt/identity.h>

namespace natt::tunnel::uv {

class IpPool {
 public:
  explicit IpPool(std::vector<IpPrefix> pools) : pools_(std::move(pools)) {}

  // The first usable address of each pool: the gateway's own.
  [[nodiscard]] std::vector<IpPrefix> own_addresses() const;
  // One address per pool, single-address prefixes. Empty when a pool has none left.
  [[nodiscard]] std::vector<IpPrefix> assign(const Identity& client);
  // The addresses may go to others once nothing else is free.
  void release(const Identity& client);

 private:
  [[nodiscard]] std::optional<IpAddress> pick(const IpPrefix& pool, const Identity& client) const;
  [[nodiscard]] std::optional<IpAddress> owned(const IpPrefix& pool, const Identity& client) const;
  [[nodiscard]] bool is_taken(const IpAddress& address) const { return owners_.contains(address); }

  std::vector<IpPrefix> pools_;
  std::map<IpAddress, Identity> owners_;
};

}  // namespace natt::tunnel::uv
