// SPDX-License-Identifier: Apache-2.0
#pragma once

// How TransportOptions become ngtcp2's settings and transport parameters.

#include <array>
#include <cstdint>

#include <ngtcp2/ngtcp2.h>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/time.h>
#include <natt/tunnel/transport_options.h>

#include "src/quic/virtual_path.h"

namespace natt::tunnel {

[[nodiscard]] ngtcp2_cid to_cid(ByteView id);

// Holds the arrays that the settings point to until ngtcp2 has copied them.
struct QuicSettings {
  QuicSettings(Instant now, Side side, const TransportOptions& options, Random& random, ByteView token);
  QuicSettings(const QuicSettings&) = delete;
  QuicSettings& operator=(const QuicSettings&) = delete;

  ngtcp2_settings native{};
  std::array<std::uint16_t, 4> probes{};
};

// `original_dcid` is empty for a client.
[[nodiscard]] ngtcp2_transport_params make_transport_parameters(Side side, const TransportOptions& options,
                                                                ByteView original_dcid);

}  // namespace natt::tunnel
