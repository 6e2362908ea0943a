// SPDX-License-Identifier: Apache-2.0
#pragma once

// HTTP/2 (RFC 9113, extended CONNECT of RFC 8441) of one connection: plaintext in and out,
// somebody else encrypts and moves it. Bounds what a peer can make it hold or do; a peer that
// breaks the rules ends it with one reason. Resource type; nghttp2's callbacks only move bytes
// and set flags.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <nghttp2/nghttp2.h>

#include <natt/bytes.h>
#include <natt/time.h>

#include "src/http/frame_budget.h"
#include "src/http/http_session.h"
#include "src/http/receive_window.h"

namespace natt::tunnel {

class Http2Session final : public HttpSession {
 public:
  // fill() wants at least this much room: a frame's header and its largest payload here.
  static constexpr std::size_t kMinRoom = 16 * 1024 - 32;

  Http2Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options);
  ~Http2Session() override;

  // TLS is complete: announces settings and windows. False without memory.
  [[nodiscard]] bool start();
  // False when the connection is over: failure() says why.
  [[nodiscard]] bool handle_bytes(Instant now, ByteView bytes);
  // Writes what is to be sent to the front of `room`, and says how much; 0: nothing now, or failure().
  [[nodiscard]] std::size_t fill(MutableBytes room);

  void ping();
  // GOAWAY with the text; everything before it on the wire comes out of fill() as well, until said_goodbye().
  void say_goodbye(std::uint32_t code, std::string_view reason);
  [[nodiscard]] bool said_goodbye() const { return state_ == State::kSilent; }

  struct GoAway {
    std::uint32_t code = NGHTTP2_NO_ERROR;
    std::string reason;  // peer-supplied where it is the peer's
  };
  // The peer's SETTINGS have come: its first frame.
  [[nodiscard]] bool is_confirmed() const { return state_ == State::kConfirmed; }
  // The last one the peer has sent.
  [[nodiscard]] const std::optional<GoAway>& peer_goaway() const { return peer_goaway_; }
  // What the peer did against the rules.
  [[nodiscard]] const std::optional<GoAway>& failure() const { return failure_; }
  // Requests that the client took back, or made invalid, before they were answered; since the last call.
  [[nodiscard]] std::uint32_t take_early_resets();

  [[nodiscard]] Result<StreamId> open(Protocol protocol, const Authority& target, std::string_view authority) override;

 private:
  friend struct Http2Callbacks;  // nghttp2's C functions, in http2_callbacks.cc

  //   kUnconfirmed -> kConfirmed -> kLeaving -> kSilent
  // kSilent comes from anywhere when nghttp2 itself sends the last GOAWAY.
  enum class State : std::uint8_t {
    kUnconfirmed,  // the peer's SETTINGS have not come
    kConfirmed,
    kLeaving,  // say_goodbye() was called: what waits, and GOAWAY, still go out
    kSilent,   // the last GOAWAY is out
  };
  [[nodiscard]] static std::string_view name_of(State state);
  void transition_to(State state);

  void handle_begin_head(const nghttp2_headers& frame);
  [[nodiscard]] bool handle_frame_begin(const nghttp2_frame_hd& header);
  void handle_frame(const nghttp2_frame& frame);
  void handle_frame_sent(const nghttp2_frame& frame);
  void handle_goaway_sent(const nghttp2_goaway& frame);
  void handle_closed(std::int64_t stream, std::uint32_t code);
  [[nodiscard]] bool write_data(std::int64_t stream, ByteView header, std::size_t size);
  void fail_with(std::uint32_t code, std::string_view reason);
  void check_outbound();
  [[nodiscard]] std::size_t outbound_limit() const;
  void track(std::int64_t stream);
  [[nodiscard]] std::optional<Error> why_not_open(Protocol protocol) const;

  void announce_drain() override;
  void credit(std::int64_t stream, std::size_t count) override;
  void credit_connection(std::size_t count) override;
  void wake(Stream& stream) override;
  bool submit_acceptance(std::int64_t stream, const RequestFields& fields) override;
  bool submit_refusal(std::int64_t stream, const RequestFields& fields) override;
  void finish_refused(std::int64_t stream) override;
  void reset_on_wire(std::int64_t stream, std::uint64_t code) override;
  [[nodiscard]] std::size_t send_limit() const override;
  void handle_removed(std::int64_t) override {}

  State state_ = State::kUnconfirmed;
  nghttp2_session* http_ = nullptr;
  // Streams that nghttp2 has open, each with its window; the streams of `streams_` may outlive them.
  std::unordered_map<std::int64_t, ReceiveWindow> windows_;
  ReceiveWindow connection_window_;
  FrameBudget budget_;
  Instant now_;                  // of handle_bytes(), for the callbacks
  MutableBytes room_;            // of fill(), what is left of it
  ByteView serialized_;          // nghttp2's, not yet written; valid until it is asked for more
  std::optional<GoAway> peer_goaway_;
  std::optional<GoAway> failure_;
  std::uint32_t early_resets_ = 0;
  std::uint32_t goaways_waiting_ = 0;  // of this end, not yet sent
};

}  // namespace natt::tunnel
