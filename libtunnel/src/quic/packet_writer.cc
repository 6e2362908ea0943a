// SPDX-License-Identifier: Apache-2.0
#include "src/quic/packet_writer.h"

#include <algorithm>

#include "src/masque/varint.h"
#include "src/quic/timestamp.h"
#include "src/quic/virtual_path.h"

namespace natt::tunnel {
namespace {

// RFC 9000 section 17.3.1 and RFC 9221 section 4: first octet, packet number, AEAD tag, frame
// type and a two-octet length; the destination connection id comes on top.
constexpr std::size_t kDatagramOverhead = 1 + 4 + 16 + 1 + 2;

}  // namespace

PacketWriter::PacketWriter(Side side, Http3Session& http, std::size_t datagram_capacity)
    : side_(side), http_(http), datagrams_(datagram_capacity) {}

std::optional<PacketWriter::Failure> PacketWriter::fill(Instant now, PacketBatch& batch) {
  batch.clear();
  if (take_carried(batch)) return std::nullopt;
  shed_oversized();
  const std::size_t quantum = ngtcp2_conn_get_send_quantum(quic_);
  const std::size_t largest = std::min(ngtcp2_conn_get_max_tx_udp_payload_size(quic_), kMaxPacket);
  const std::size_t full = ngtcp2_conn_get_path_max_tx_udp_payload_size(quic_);

  for (std::size_t total = 0; total < quantum;) {
    const MutableBytes slot = batch.next_slot(largest);
    if (slot.empty()) break;
    const auto written = write_packet(now, slot);
    if (!written) return written.error();
    if (written->size == 0) break;
    ++packets_;
    bytes_ += written->size;
    if (!batch.empty() && (written->path != batch.path() || written->ecn != batch.ecn())) {
      carry(*written, slot);
      break;
    }
    batch.push(written->path, written->ecn, written->size);
    total += written->size;
    if (written->size < full) break;  // a short packet ends a GSO train, and a small one must not set its size
  }
  if (!batch.empty()) ngtcp2_conn_update_pkt_tx_time(quic_, to_timestamp(now));
  return std::nullopt;
}

bool PacketWriter::take_carried(PacketBatch& batch) {
  if (carried_.empty()) return false;
  const MutableBytes slot = batch.next_slot(carried_.size());
  std::copy(carried_.begin(), carried_.end(), slot.begin());
  batch.push(carried_info_.path, carried_info_.ecn, carried_.size());
  carried_.clear();
  return true;
}

void PacketWriter::carry(const Written& written, ByteView bytes) {
  carried_.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(written.size));
  carried_info_ = written;
}

// Datagrams and streams take turns with the first place in a packet, so that neither starves
// the other; what room is left goes to the other one.
tl::expected<PacketWriter::Written, PacketWriter::Failure> PacketWriter::write_packet(Instant now, MutableBytes bytes) {
  Slot slot;
  slot.bytes = bytes;
  slot.now = to_timestamp(now);
  ngtcp2_path_storage_zero(&slot.path);

  bool datagrams = has_datagrams() && http_.peer_takes_quic_datagrams();
  if (datagrams && streams_first_) {
    Http3Session::Pending pending;
    if (const auto failure = http_.next_pending(pending)) return tl::unexpected(Failure{0, failure});
    datagrams = pending.stream < 0;
  }
  streams_first_ = datagrams;
  tl::expected<ngtcp2_ssize, Failure> size = 0;
  if (datagrams) size = write_datagrams(slot);
  if (size && *size == 0) size = write_streams(slot);
  if (!size) return tl::unexpected(size.error());
  return Written{static_cast<std::size_t>(*size), VirtualPath::id_of(side_, slot.path.path), slot.info.ecn};
}

// 0 when the packet is not complete: blocked, or there is room for more.
tl::expected<ngtcp2_ssize, PacketWriter::Failure> PacketWriter::write_datagrams(Slot& slot) {
  while (const auto datagram = datagrams_.front()) {
    if (!http_.takes_datagrams(datagram->stream.number)) {
      datagrams_.pop();
      continue;
    }
    std::array<std::uint8_t, 9> prefix{};
    const std::size_t id_size = store_varint(prefix.data(), static_cast<std::uint64_t>(datagram->stream.number) / 4);
    // Context id 0 follows. ngtcp2 only reads.
    const std::array<ngtcp2_vec, 2> parts{
        {{prefix.data(), id_size + 1}, {const_cast<std::uint8_t*>(datagram->payload.data()), datagram->payload.size()}}};
    const std::size_t part_count = datagram->payload.empty() ? 1 : 2;  // ngtcp2 asserts that none is empty
    int accepted = 0;
    const ngtcp2_ssize size = ngtcp2_conn_writev_datagram(quic_, &slot.path.path, &slot.info, slot.bytes.data(),
                                                          slot.bytes.size(), &accepted, NGTCP2_WRITE_DATAGRAM_FLAG_MORE,
                                                          0, parts.data(), part_count, slot.now);
    const bool refused = size == NGTCP2_ERR_INVALID_ARGUMENT || size == NGTCP2_ERR_INVALID_STATE;
    if (refused) ++datagrams_dropped_;
    if (accepted != 0 || refused) datagrams_.pop();
    if (refused || size == NGTCP2_ERR_WRITE_MORE) continue;
    if (size < 0) return tl::unexpected(Failure{static_cast<int>(size), {}});
    return size;
  }
  return 0;
}

tl::expected<ngtcp2_ssize, PacketWriter::Failure> PacketWriter::write_streams(Slot& slot) {
  for (;;) {
    Http3Session::Pending pending;
    if (ngtcp2_conn_get_max_data_left(quic_) > 0) {
      if (const auto failure = http_.next_pending(pending)) return tl::unexpected(Failure{0, failure});
    }
    const std::uint32_t fin = pending.fin != 0 ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0;
    ngtcp2_ssize taken = -1;
    static_assert(sizeof(nghttp3_vec) == sizeof(ngtcp2_vec));  // both are {base, len} so that one can be passed on
    const ngtcp2_ssize size = ngtcp2_conn_writev_stream(
        quic_, &slot.path.path, &slot.info, slot.bytes.data(), slot.bytes.size(), &taken,
        NGTCP2_WRITE_STREAM_FLAG_MORE | fin, pending.stream, reinterpret_cast<const ngtcp2_vec*>(pending.parts.data()),
        pending.count, slot.now);
    if (const auto failure = settle(pending, size, taken)) return tl::unexpected(*failure);
    if (size >= 0) return size;
  }
}

// Tells HTTP/3 what became of what it offered. A failure ends the connection.
std::optional<PacketWriter::Failure> PacketWriter::settle(const Http3Session::Pending& pending, ngtcp2_ssize written,
                                                          ngtcp2_ssize taken) {
  if (taken >= 0 && pending.stream >= 0) {
    const auto failure = http_.handle_written(pending.stream, static_cast<std::size_t>(taken));
    if (failure) return Failure{0, failure};
  }
  if (written >= 0) return std::nullopt;
  switch (written) {
    case NGTCP2_ERR_WRITE_MORE: return std::nullopt;
    case NGTCP2_ERR_STREAM_DATA_BLOCKED: http_.handle_blocked(pending.stream); return std::nullopt;
    case NGTCP2_ERR_STREAM_NOT_FOUND:
    case NGTCP2_ERR_STREAM_SHUT_WR: http_.handle_write_refused(pending.stream); return std::nullopt;
    default: return Failure{static_cast<int>(written), {}};
  }
}

DatagramResult PacketWriter::send_datagram(StreamId stream, ByteView payload) {
  if (payload.size() > kMaxDatagram) return DatagramResult::kTooLarge;
  if (!http_.takes_datagrams(stream.number)) return DatagramResult::kNotAllowed;
  const bool queued = payload.size() <= datagram_limit(stream.number)
                          ? datagrams_.push(stream, payload)
                          : http_.send_datagram_capsule(stream.number, payload);
  if (queued) return DatagramResult::kQueued;
  ++datagrams_dropped_;
  return DatagramResult::kNoRoom;
}

std::size_t PacketWriter::datagram_limit(std::int64_t stream) const {
  const ngtcp2_transport_params* const peer = ngtcp2_conn_get_remote_transport_params(quic_);
  if (peer == nullptr || peer->max_datagram_frame_size == 0 || !http_.peer_takes_quic_datagrams()) return 0;
  const std::size_t prefix = varint_size(static_cast<std::uint64_t>(stream) / 4) + 1;
  const std::size_t packet = ngtcp2_conn_get_path_max_tx_udp_payload_size(quic_);
  const std::size_t overhead = kDatagramOverhead + ngtcp2_conn_get_dcid(quic_)->datalen + prefix;
  const std::size_t frame_limit = static_cast<std::size_t>(peer->max_datagram_frame_size);
  if (packet <= overhead || frame_limit <= prefix + 3) return 0;
  return std::min(packet - overhead, frame_limit - prefix - 3);
}

// After a move to a path with a smaller MTU: ngtcp2 would take nothing and say 0 for ever.
void PacketWriter::shed_oversized() {
  while (const auto datagram = datagrams_.front()) {
    if (datagram->payload.size() <= datagram_limit(datagram->stream.number)) return;
    if (!http_.send_datagram_capsule(datagram->stream.number, datagram->payload)) ++datagrams_dropped_;
    datagrams_.pop();
  }
}

}  // namespace natt::tunnel
