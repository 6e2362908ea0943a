// SPDX-License-Identifier: Apache-2.0
#pragma once

// Addresses that no block rule and no host name opens: behind them are the gateway
// itself, its link, its cloud's keys, or the infrastructure. An exact rule (/32, /128)
// opens one of them, the tunnel's own pool never opens. Immutable value type.

#include <optional>
#include <string_view>
#include <vector>

#include <natt/address.h>

namespace natt::gateway {

struct NeverList {
  std::vector<IpAddress> own;  // every address of this host, the gateway's public ones too
  std::vector<IpAddress> brokers;
  // Tunnel addresses of the clients: client to client is denied whatever the rules say.
  std::vector<IpPrefix> pool;

  // What `address` is ("loopback", "cloud metadata", ...), when it is on the list. The pool is not looked at.
  [[nodiscard]] std::optional<std::string_view> find(const IpAddress& address) const;
  [[nodiscard]] bool is_in_pool(const IpAddress& address) const;
};

}  // namespace natt::gateway
