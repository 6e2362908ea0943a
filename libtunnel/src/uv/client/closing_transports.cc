// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/closing_transports.h"

namespace natt::tunnel::uv {

void ClosingTransports::add(Instant now, std::unique_ptr<TunnelTransport> transport) {
  closing_.push_back({std::move(transport), now + kPatience});
}

void ClosingTransports::pump(Instant now) {
  std::erase_if(closing_, [&](const Closing& each) { return each.transport->pump(now) || now >= each.until; });
}

std::optional<Instant> ClosingTransports::next_deadline() const {
  return closing_.empty() ? std::nullopt : std::optional(closing_.front().until);
}

}  // namespace natt::tunnel::uv
