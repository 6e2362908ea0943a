// SPDX-License-Identifier: Apache-2.0
#pragma once

// HTTP/3 (RFC 9114) of one connection: requests, their streams and capsules, over an
// ngtcp2_conn that somebody else drives. Knows nothing of packets. Errors of the peer's making
// are HTTP/3 error codes for the connection's close. Resource type; nghttp3's callbacks only
// move bytes and set flags.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

#include <natt/tunnel/streams.h>
#include <natt/tunnel/transport_options.h>

#include "src/http/stream_table.h"
#include "src/masque/datagram_queue.h"
#include "src/quic/virtual_path.h"

namespace natt::tunnel {

class Http3Session {
 public:
  // What the sessions of one endpoint share; outlives them.
  struct Shared {
    ChunkPool& chunks;
    DatagramQueue& received_datagrams;
  };
  struct Counters {
    std::uint64_t datagrams_dropped_in = 0;
  };

  // `quic` outlives the session, but streams may be torn down after it.
  Http3Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options);
  ~Http3Session();
  Http3Session(const Http3Session&) = delete;
  Http3Session& operator=(const Http3Session&) = delete;

  void attach(ngtcp2_conn* quic) { quic_ = quic; }
  // Handshake complete: opens the control streams. False when QUIC refuses them.
  [[nodiscard]] bool start();
  [[nodiscard]] bool started() const { return http_ != nullptr; }

  // From QUIC's callbacks. Nothing is fine; a value is the HTTP/3 error that ends the connection.
  using Failure = std::optional<std::uint64_t>;
  [[nodiscard]] Failure handle_stream_data(std::int64_t stream, ByteView data, bool fin);
  [[nodiscard]] Failure handle_acknowledged(std::int64_t stream, std::uint64_t count);
  [[nodiscard]] Failure handle_closed(std::int64_t stream, std::uint64_t code);
  // True when the request was taken back before it was answered.
  [[nodiscard]] bool handle_reset(std::int64_t stream, std::uint64_t code);
  void handle_stop_sending_done(std::int64_t stream);
  void handle_window(std::int64_t stream);
  // Payload of a QUIC datagram: quarter stream id, context id, and the rest (RFC 9297 section 2.1).
  void handle_datagram(ByteView datagram);

  // What to send next on which stream; stream is -1 when there is nothing.
  struct Pending {
    std::int64_t stream = -1;
    int fin = 0;
    std::size_t count = 0;
    std::array<nghttp3_vec, 16> parts;
  };
  [[nodiscard]] Failure next_pending(Pending& pending);
  [[nodiscard]] Failure handle_written(std::int64_t stream, std::size_t count);
  void handle_blocked(std::int64_t stream);
  void handle_write_refused(std::int64_t stream);

  [[nodiscard]] std::optional<StreamEvent> poll_event();
  [[nodiscard]] bool has_events() const { return streams_.has_listed(); }

  // `authority` is the gateway's, for extended CONNECT.
  [[nodiscard]] Result<StreamId> open(Protocol protocol, const Authority& target, std::string_view authority);
  void accept(std::int64_t stream);
  void reject(std::int64_t stream, int status, std::string_view reason);
  void drain();

  [[nodiscard]] MutableBytes reserve(std::int64_t stream);
  void commit(std::int64_t stream, std::size_t size);
  void shutdown_write(std::int64_t stream);
  [[nodiscard]] ByteView peek(std::int64_t stream) const;
  void consume(std::int64_t stream, std::size_t size);
  void reset(std::int64_t stream, std::uint64_t code);
  [[nodiscard]] Result<void> send_capsule(std::int64_t stream, const ControlCapsule& capsule);
  // A datagram as a capsule on its stream; false when that has too much to send already.
  [[nodiscard]] bool send_datagram_capsule(std::int64_t stream, ByteView payload);
  // Whether datagrams may be sent for the stream at all, and as QUIC datagrams.
  [[nodiscard]] bool takes_datagrams(std::int64_t stream) const;
  [[nodiscard]] bool peer_takes_quic_datagrams() const { return peer_datagrams_; }

  [[nodiscard]] std::size_t stream_count() const { return streams_.size(); }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  friend struct Http3Callbacks;  // nghttp3's C functions, in http3_callbacks.cc

  void begin_head(std::int64_t number);
  void end_request(Stream& stream);
  void end_response(Stream& stream);
  void receive(Stream& stream, ByteView bytes);
  void receive_capsules(Stream& stream, ByteView bytes);
  void deliver_datagram(Stream& stream, ByteView payload);
  void release(Stream& stream, std::size_t count);
  void condemn(const Stream& stream, std::uint64_t code) { condemned_.emplace_back(stream.id().number, code); }
  void execute_condemned();
  [[nodiscard]] bool submit_status(Stream& stream, int status, std::string_view reason);
  void abort(Stream& stream, std::uint64_t code);
  void credit(std::int64_t stream, std::size_t count);
  void credit_discarded(Stream& stream);
  void resume(Stream& stream);
  void remove_dead(Stream& stream);
  [[nodiscard]] bool has_room(const Stream& stream) const;
  [[nodiscard]] std::size_t send_limit() const;

  Side side_;
  Shared shared_;
  const TransportOptions& options_;
  StreamTable streams_;
  ngtcp2_conn* quic_ = nullptr;
  nghttp3_conn* http_ = nullptr;
  std::vector<std::pair<std::int64_t, std::uint64_t>> condemned_;  // reset once nghttp3 has returned
  std::size_t buffered_out_ = 0;  // over all streams
  Counters counters_;
  bool peer_datagrams_ = false;
};

}  // namespace natt::tunnel
