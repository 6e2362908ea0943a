// SPDX-License-Identifier: Apache-2.0
#include "src/quic/quic_settings.h"

#include <algorithm>

#include "src/quic/timestamp.h"

namespace natt::tunnel {
namespace {

// 1332 carries an inner packet of 1280 octets in one datagram, 1384 passes PPPoE with IPv6 and
// a relay header, 1232 is IPv6's minimum; the largest comes second, so that a usual link is
// done after two probes.
constexpr std::uint16_t kInnerPacketFits = 1332;
constexpr std::uint16_t kPppoe = 1384;
constexpr std::uint16_t kIpv6Minimum = 1232;

// RFC 9114 section 6.2: a control and two QPACK streams; more have no meaning here.
constexpr std::uint64_t kUnidirectionalStreams = 3;
constexpr std::uint64_t kUnidirectionalWindow = 64 * 1024;
// RFC 9221 section 3: "65535 ... in order to indicate that it will accept any".
constexpr std::uint64_t kAnyDatagram = 65535;
constexpr std::uint64_t kActiveConnectionIds = 8;

}  // namespace

ngtcp2_cid to_cid(ByteView id) {
  ngtcp2_cid cid{};
  ngtcp2_cid_init(&cid, id.data(), id.size());
  return cid;
}

QuicSettings::QuicSettings(Instant now, Side side, const TransportOptions& options, Random& random, ByteView token) {
  ngtcp2_settings_default(&native);
  native.initial_ts = to_timestamp(now);
  native.rand_ctx.native_handle = &random;
  native.handshake_timeout = to_quic_duration(options.handshake_timeout);
  native.max_window = options.max_connection_window;
  native.max_stream_window = options.max_stream_window;
  native.max_tx_udp_payload_size = options.max_udp_payload;
  native.no_pmtud = options.probe_mtu ? 0 : 1;
  if (side == Side::kClient) {
    native.token = token.data();
    native.tokenlen = token.size();
  }
  // A server's token stays unset: ngtcp2 would take the address for validated (SPA.md section 1.4).

  const auto largest = static_cast<std::uint16_t>(options.max_udp_payload);
  for (const std::uint16_t size : {kInnerPacketFits, largest, kPppoe, kIpv6Minimum}) {
    if (size > NGTCP2_MAX_UDP_PAYLOAD_SIZE && size <= largest) probes[native.pmtud_probeslen++] = size;
  }
  native.pmtud_probes = probes.data();
}

ngtcp2_transport_params make_transport_parameters(Side side, const TransportOptions& options, ByteView original_dcid) {
  ngtcp2_transport_params params{};
  ngtcp2_transport_params_default(&params);
  params.initial_max_stream_data_bidi_local = options.stream_window;
  params.initial_max_stream_data_bidi_remote = options.stream_window;
  params.initial_max_stream_data_uni = kUnidirectionalWindow;
  params.initial_max_data = options.connection_window;
  params.initial_max_streams_bidi = side == Side::kServer ? options.max_streams : 0;
  params.initial_max_streams_uni = kUnidirectionalStreams;
  params.max_idle_timeout = to_quic_duration(options.idle_timeout);
  params.active_connection_id_limit = kActiveConnectionIds;
  params.max_datagram_frame_size = kAnyDatagram;
  params.grease_quic_bit = 0;  // RFC 9443 section 2: a demultiplexed endpoint must not
  if (side == Side::kServer) {
    params.original_dcid = to_cid(original_dcid);
    params.original_dcid_present = 1;
  }
  return params;
}

}  // namespace natt::tunnel
