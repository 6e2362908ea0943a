// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/closing_carriers.h"

namespace natt::tunnel::uv {

void ClosingCarriers::add(Instant now, std::unique_ptr<TunnelCarrier> carrier) {
  closing_.push_back({std::move(carrier), now + kPatience});
}

void ClosingCarriers::pump(Instant now) {
  std::erase_if(closing_, [&](const Closing& each) { return each.carrier->pump(now) || now >= each.until; });
}

std::optional<Instant> ClosingCarriers::next_deadline() const {
  return closing_.empty() ? std::nullopt : std::optional(closing_.front().until);
}

}  // namespace natt::tunnel::uv
