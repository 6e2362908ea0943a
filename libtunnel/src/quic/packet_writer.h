// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fills bursts of equal-size packets from what ngtcp2, HTTP/3 and the datagram queue have to
// send. ngtcp2 1.11 writes one packet at a time; a packet that belongs to another path or does
// not fit the burst's size waits for the next burst. Resource type, member of Connection.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <ngtcp2/ngtcp2.h>

#include <natt/time.h>
#include <natt/tunnel/packet_batch.h>

#include "src/http/http3_session.h"

namespace natt::tunnel {

class PacketWriter {
 public:
  // Beyond the tunnel's packet size: PathMTU discovery may be configured up to a jumbo frame.
  static constexpr std::size_t kMaxPacket = 9216;

  PacketWriter(Side side, Http3Session& http, std::size_t datagram_capacity);
  PacketWriter(const PacketWriter&) = delete;
  PacketWriter& operator=(const PacketWriter&) = delete;
  void attach(ngtcp2_conn* quic) { quic_ = quic; }

  struct Failure {
    int quic = 0;                       // an ngtcp2 error
    std::optional<std::uint64_t> http;  // or an HTTP/3 one
  };
  // Fills `batch`, which is empty when there is nothing to send now.
  [[nodiscard]] std::optional<Failure> fill(Instant now, PacketBatch& batch);

  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload);
  // Payload that fits one QUIC datagram now; 0 when the peer takes none.
  [[nodiscard]] std::size_t datagram_limit(std::int64_t stream) const;
  [[nodiscard]] bool has_datagrams() const { return !datagrams_.empty(); }

  [[nodiscard]] std::uint64_t packets() const { return packets_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t datagrams_dropped() const { return datagrams_dropped_; }

 private:
  struct Written {
    std::size_t size = 0;  // 0: nothing to send
    PathId path;
    std::uint8_t ecn = 0;
  };
  struct Slot {
    MutableBytes bytes;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info{};
    ngtcp2_tstamp now = 0;
  };
  [[nodiscard]] tl::expected<Written, Failure> write_packet(Instant now, MutableBytes bytes);
  [[nodiscard]] tl::expected<ngtcp2_ssize, Failure> write_datagrams(Slot& slot);
  [[nodiscard]] tl::expected<ngtcp2_ssize, Failure> write_streams(Slot& slot);
  [[nodiscard]] std::optional<Failure> settle(const Http3Session::Pending& pending, ngtcp2_ssize written,
                                              ngtcp2_ssize taken);
  void shed_oversized();
  [[nodiscard]] bool take_carried(PacketBatch& batch);
  void carry(const Written& written, ByteView bytes);

  Side side_;
  Http3Session& http_;
  ngtcp2_conn* quic_ = nullptr;
  DatagramQueue datagrams_;
  std::vector<std::uint8_t> carried_;  // capacity is kept
  Written carried_info_;
  std::uint64_t packets_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t datagrams_dropped_ = 0;
  bool streams_first_ = false;
};

}  // namespace natt::tunnel
