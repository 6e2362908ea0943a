// SPDX-License-Identifier: Apache-2.0
#include <natt/backoff.h>

#include <algorithm>

namespace natt {

Duration Backoff::next_delay() {
  // 2^32 times half a second is past any maximum, and the product stays below 2^63 ns.
  const std::uint32_t doublings = std::min<std::uint32_t>(failures_, 32);
  if (failures_ < UINT32_MAX) ++failures_;
  const bool saturated = options_.initial > options_.maximum / (std::int64_t{1} << doublings);
  const Duration step = saturated ? options_.maximum : options_.initial * (std::int64_t{1} << doublings);
  const Duration half = step / 2;
  const auto spread = static_cast<std::uint64_t>((step - half).count()) + 1;
  return half + Duration(static_cast<std::int64_t>(random_.uniform(spread)));
}

}  // namespace natt
