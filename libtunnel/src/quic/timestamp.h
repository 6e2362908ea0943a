// SPDX-License-Identifier: Apache-2.0
#pragma once

// ngtcp2 counts nanoseconds from any start in an unsigned number; so does Instant.

#include <optional>

#include <ngtcp2/ngtcp2.h>

#include <natt/time.h>

namespace natt::tunnel {

[[nodiscard]] inline ngtcp2_tstamp to_timestamp(Instant now) {
  return static_cast<ngtcp2_tstamp>(now.time_since_epoch().count());
}

// Nothing for "never" (UINT64_MAX).
[[nodiscard]] inline std::optional<Instant> to_instant(ngtcp2_tstamp timestamp) {
  if (timestamp > static_cast<ngtcp2_tstamp>(Instant::max().time_since_epoch().count())) return std::nullopt;
  return Instant(Duration(static_cast<Duration::rep>(timestamp)));
}

[[nodiscard]] inline ngtcp2_duration to_quic_duration(Duration duration) {
  return static_cast<ngtcp2_duration>(duration.count());
}

}  // namespace natt::tunnel
