// SPDX-License-Identifier: Apache-2.0
#pragma once

// HTTP/3 (RFC 9114) of one connection over an ngtcp2_conn that somebody else drives. Knows
// nothing of packets. Errors of the peer's making are HTTP/3 error codes for the connection's
// close. Resource type; nghttp3's callbacks only move bytes and set flags.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

#include "src/http/http_session.h"

namespace natt::tunnel {

class Http3Session final : public HttpSession {
 public:
  // `quic` outlives the session, but streams may be torn down after it.
  Http3Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options);
  ~Http3Session() override;
  Http3Session(const Http3Session&) = delete;
  Http3Session& operator=(const Http3Session&) = delete;

  void attach(ngtcp2_conn* quic) { quic_ = quic; }
  // Handshake complete: opens the control streams. False when QUIC refuses them.
  [[nodiscard]] bool start();

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

  [[nodiscard]] Result<StreamId> open(Protocol protocol, const Authority& target, std::string_view authority) override;
  [[nodiscard]] bool peer_takes_quic_datagrams() const { return peer_datagrams_; }

 private:
  friend struct Http3Callbacks;  // nghttp3's C functions, in http3_callbacks.cc

  void announce_drain() override;
  void credit(std::int64_t stream, std::size_t count) override;
  void credit_connection(std::size_t count) override;
  void wake(Stream& stream) override;
  bool submit_acceptance(std::int64_t stream, const RequestFields& fields) override;
  bool submit_refusal(std::int64_t stream, const RequestFields& fields) override;
  void finish_refused(std::int64_t stream) override;
  void reset_on_wire(std::int64_t stream, std::uint64_t code) override;
  [[nodiscard]] std::size_t send_limit() const override;
  void handle_removed(std::int64_t stream) override;

  ngtcp2_conn* quic_ = nullptr;
  nghttp3_conn* http_ = nullptr;
  bool peer_datagrams_ = false;
};

}  // namespace natt::tunnel
