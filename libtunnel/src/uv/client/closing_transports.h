// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tunnels that have ended and whose gateways are still to be told. Resource type.

#include <chrono>
#include <memory>
#include <vector>

#include "src/uv/client/tunnel_transport.h"

namespace natt::tunnel::uv {

class ClosingTransports {
 public:
  // One last packet, or a TCP connection's last bytes: what a gateway has not taken by then it never will.
  static constexpr Duration kPatience = std::chrono::seconds(2);

  ClosingTransports() = default;
  ClosingTransports(const ClosingTransports&) = delete;
  ClosingTransports& operator=(const ClosingTransports&) = delete;

  // It is closed already.
  void add(Instant now, std::unique_ptr<TunnelTransport> transport);
  // Not from inside a stream of theirs: frees those whose last word is out, or whose time is up.
  void pump(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  struct Closing {
    std::unique_ptr<TunnelTransport> transport;
    Instant until{};
  };
  std::vector<Closing> closing_;  // in the order of their deadlines
};

}  // namespace natt::tunnel::uv
