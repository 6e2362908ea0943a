// SPDX-License-Identifier: Apache-2.0
#pragma once

// One tunnel over TLS and HTTP/2, the same on both sides: bytes of the TCP connection in and
// out. Sans-I/O. Duties it delegates: encryption (TlsStream), streams (Http2Session). Resource
// type.
//
//   kHandshaking -> kOpen -> kClosing (what says so is still to be sent)  -> kDone
//         '-----------'------------ silence, or TCP broke -----------------'

#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/time.h>
#include <natt/tls_context.h>
#include <natt/tls_stream.h>

#include "src/http/http2_session.h"
#include "src/tunnel_connection.h"

namespace natt::tunnel {

class TlsConnection final : public TunnelConnection {
 public:
  enum class State : std::uint8_t { kHandshaking, kOpen, kClosing, kDone };

  struct Start {
    Side side = Side::kClient;
    ConnectionId id;
    PeerExpectation expectation;
    WallTime wall_now{};
  };
  // All of it outlives the connection.
  struct Environment {
    const TlsContext& tls;
    HttpSession::Shared shared;
    const TransportOptions& options;
  };

  [[nodiscard]] static Result<std::unique_ptr<TlsConnection>> make(Instant now, const Environment& environment,
                                                                   const Start& start);

  void handle_bytes(Instant now, ByteView bytes);
  void handle_disconnected(const Error& error);
  // As TlsClient::output().
  [[nodiscard]] ByteView output(Instant now);
  void consume_output(std::size_t count);

  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  void set_keep_alive(Duration interval) override { keep_alive_ = interval; }
  void close_with(Instant now, std::uint64_t http_error, std::string_view reason, Error why) override;

  [[nodiscard]] bool is_alive() const override { return state_ == State::kHandshaking || state_ == State::kOpen; }
  [[nodiscard]] bool is_established() const override { return state_ == State::kOpen; }
  [[nodiscard]] bool is_over() const override { return state_ == State::kDone && has_told_all(); }
  [[nodiscard]] HttpSession& http() override { return http_; }
  [[nodiscard]] const HttpSession& http() const override { return http_; }
  [[nodiscard]] Instant last_heard() const override { return last_heard_; }
  [[nodiscard]] std::uint32_t take_early_resets() override { return http_.take_early_resets(); }
  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload) override;
  [[nodiscard]] ConnectionStats stats() const override;

 private:
  TlsConnection(Instant now, const Environment& environment, const Start& start, std::unique_ptr<TlsStream> tls);

  [[nodiscard]] Instant advance(Instant now) { return latest_ = std::max(latest_, now); }
  void take(Instant now, ByteView plaintext);
  void handle_handshake_completed(Instant now);
  void handle_tls_end(Instant now);
  void handle_rule_broken(Instant now);
  [[nodiscard]] Error error_of_peer() const;
  [[nodiscard]] bool write_record();
  // What is sent without an answer is no sign of life: a stream of datagrams one way would hide a dead peer.
  [[nodiscard]] Instant quiet_since() const { return std::max(last_heard_, last_asked_); }
  [[nodiscard]] Instant handshake_deadline() const { return started_ + options_.handshake_timeout; }
  void say_goodbye();
  void start_closing(Instant now, Error why);
  void end(Error why);
  void transition_to(State state);

  const TransportOptions& options_;
  State state_ = State::kHandshaking;
  std::unique_ptr<TlsStream> tls_;
  Http2Session http_;
  Duration keep_alive_;
  Instant started_;
  Instant latest_;
  Instant last_heard_;
  Instant last_asked_;
  Instant closing_until_;
  ConnectionStats stats_;
  bool confirmed_ = false;
};

}  // namespace natt::tunnel
