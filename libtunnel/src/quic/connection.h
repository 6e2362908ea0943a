// SPDX-License-Identifier: Apache-2.0
#pragma once

// One QUIC connection with its TLS and HTTP/3 session, the same on both sides. Sans-I/O.
// Duties it delegates: bursts of packets (PacketWriter), the end of the connection
// (ClosingState), streams (Http3Session). Resource type.
//
//   kHandshaking -> kOpen -> kClosing (we ended it: close packets are repeated)
//                         -> kDraining (the peer ended it, or silence)   -> kDone after 3 PTO

#include <algorithm>
#include <memory>
#include <optional>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tunnel/packet_batch.h>

#include "src/http/http3_session.h"
#include "src/quic/closing_state.h"
#include "src/quic/connection_ids.h"
#include "src/quic/packet_writer.h"
#include "src/quic/virtual_path.h"
#include "src/tunnel_connection.h"

namespace natt::tunnel {

class Connection final : public TunnelConnection {
 public:
  enum class State : std::uint8_t { kHandshaking, kOpen, kClosing, kDraining, kDone };

  struct Start {
    Side side = Side::kClient;
    ConnectionId id;
    PathId path;
    ByteView dcid;
    ByteView scid;
    // Server: the DCID of the client's first Initial. Client: none.
    ByteView original_dcid;
    // Client only; 64 octets.
    ByteView token;
    std::uint32_t version = NGTCP2_PROTO_VER_V1;
    PeerExpectation expectation;
    WallTime wall_now{};
  };
  // All of it outlives the connection.
  struct Environment {
    TlsContext& tls;
    Random& random;
    ConnectionIds& ids;
    Http3Session::Shared shared;
    const TransportOptions& options;
  };

  [[nodiscard]] static Result<std::unique_ptr<Connection>> make(Instant now, const Environment& environment,
                                                                const Start& start);
  ~Connection() override;

  enum class Verdict : std::uint8_t {
    kTaken,
    kOutOfOrder,  // server, first packet only: a later part of the ClientHello came first; hold it
    kUseless,     // server, first packet only: nothing to build on
  };
  Verdict handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);

  void set_keep_alive(Duration interval) override;
  [[nodiscard]] Result<void> migrate(Instant now, PathId path, bool immediately);
  void close_with(Instant now, std::uint64_t http_error, std::string_view reason, Error why) override;

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_alive() const override { return state_ == State::kHandshaking || state_ == State::kOpen; }
  [[nodiscard]] bool is_established() const override { return state_ == State::kOpen; }
  [[nodiscard]] bool is_over() const override { return state_ == State::kDone && has_told_all(); }
  [[nodiscard]] bool is_confirmed() const { return confirmed_; }
  [[nodiscard]] HttpSession& http() override { return http_; }
  [[nodiscard]] const HttpSession& http() const override { return http_; }
  [[nodiscard]] PathId current_path() const { return path_; }
  [[nodiscard]] Instant last_heard() const override { return last_heard_; }
  [[nodiscard]] std::uint32_t take_early_resets() override;

  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload) override;
  [[nodiscard]] std::size_t datagram_limit(std::int64_t stream) const;
  [[nodiscard]] ConnectionStats stats() const override;

 private:
  friend struct QuicCallbacks;  // ngtcp2's C functions, in quic_callbacks.cc

  Connection(const Environment& environment, const Start& start);
  [[nodiscard]] Result<void> make_tls(const Start& start);
  [[nodiscard]] Result<void> make_quic(Instant now, const Start& start);

  // Time as ngtcp2 wants it: it asserts that it never goes back.
  [[nodiscard]] Instant advance(Instant now) { return latest_ = std::max(latest_, now); }
  [[nodiscard]] int handle_handshake_completed();
  void handle_handshake_confirmed();
  void handle_path_validation(PathId path, bool valid);
  void note_current_path();
  void transition_to(State state);
  void handle_failure(Instant now, int result);
  void start_closing(Instant now, const ngtcp2_ccerr& error, Error why);
  void end(State state, Instant now, Error why);

  Side side_;
  Environment environment_;
  State state_ = State::kHandshaking;
  ngtcp2_crypto_conn_ref reference_{};  // what TLS callbacks find the connection by
  ssl_st* tls_ = nullptr;
  ngtcp2_conn* quic_ = nullptr;
  Http3Session http_;
  PacketWriter writer_;
  ClosingState closing_;
  std::optional<std::uint64_t> http_failure_;  // set in a callback that failed
  std::optional<PathId> migrating_to_;
  PathId path_;
  Instant latest_;
  Instant last_heard_;
  std::uint64_t packets_in_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint32_t early_resets_ = 0;
  bool confirmed_ = false;
  bool read_something_ = false;
};

}  // namespace natt::tunnel
