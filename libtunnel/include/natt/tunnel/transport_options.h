// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the connections of a tunnel behave, over QUIC and over TLS; the same struct on both
// ends. The defaults are what the product ships; each says why.

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <natt/log.h>
#include <natt/time.h>

namespace natt::tunnel {

struct TransportOptions {
  // A tunnel outlives a sleeping notebook; liveness is the path table's consent checks (RFC 7675).
  Duration idle_timeout = std::chrono::minutes(20);
  // A PING after this long without a packet (over TLS: without hearing one) keeps NAT mappings open; 0: none. Clients
  // set it: they are the ones behind NATs that forget after 30 s.
  Duration keep_alive{};
  // Longer than three PTOs at 1 s RTT; a race step is cancelled by its owner before.
  Duration handshake_timeout = std::chrono::seconds(10);
  // QUIC only. Largest UDP payload sent: 1500 - 40 (IPv6) - 8 (UDP) - 16 (relay header), so that a packet
  // of a direct path fits the relay too. Found by probing (RFC 8899), starts at 1200.
  std::size_t max_udp_payload = 1436;
  // QUIC only. Without probing every packet has 1200 octets.
  bool probe_mtu = true;

  // Flow control (RFC 9000 section 4). Windows start small and double while the application
  // keeps up, up to the maximum: 6 MiB fill 1 Gbit/s at 50 ms.
  std::uint64_t stream_window = 512 * 1024;
  std::uint64_t max_stream_window = 6 * 1024 * 1024;
  std::uint64_t connection_window = 4 * 1024 * 1024;
  // Bound of what one peer can make this end hold; five streams that are not read do not stop the others.
  std::uint64_t max_connection_window = 32 * 1024 * 1024;
  // Bytes a stream holds: over QUIC until the peer acknowledged them; over TLS until they are encrypted, 512 KiB at
  // most, because the socket holds what is on its way.
  std::size_t send_buffer = 4 * 1024 * 1024;
  // Gateway: requests a client may have open at a time.
  std::uint64_t max_streams = 1024;
  // QUIC only: over TLS a stream holds 256 KiB of them. Outgoing datagrams that wait for the congestion window; beyond
  // it the newest is dropped, which is what the inner protocols expect of a link. 256 packets of 1280 octets are 2.6 ms at 1 Gbit/s.
  std::size_t datagram_send_queue = 256 * 1280;
  std::size_t datagram_receive_queue = 1024 * 1280;

  LogSink log{};
};

}  // namespace natt::tunnel
