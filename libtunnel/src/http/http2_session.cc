// SPDX-License-Identifier: Apache-2.0
#include "src/http/http2_session.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <fmt/core.h>

#include "src/http/error_codes.h"
#include "src/http/http2_callbacks.h"

namespace natt::tunnel {
namespace {

// Answers to PING and SETTINGS that wait to be sent: one read of 64 KiB from an honest peer brings a handful.
constexpr std::size_t kMaxWaitingAcks = 100;
constexpr std::size_t kMaxSettings = 32;  // entries of one frame; seven are defined
// A header section of the largest size that is announced takes two frames.
constexpr std::size_t kMaxContinuations = 4;

struct DeleteOption {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
using Option = std::unique_ptr<nghttp2_option, DeleteOption>;

Option make_option() {
  nghttp2_option* made = nullptr;
  if (nghttp2_option_new(&made) != 0) return nullptr;
  nghttp2_option_set_no_auto_window_update(made, 1);
  nghttp2_option_set_max_deflate_dynamic_table_size(made, 0);
  nghttp2_option_set_max_outbound_ack(made, kMaxWaitingAcks);
  nghttp2_option_set_max_settings(made, kMaxSettings);
  nghttp2_option_set_max_continuations(made, kMaxContinuations);
  nghttp2_option_set_max_reserved_remote_streams(made, 0);
  nghttp2_option_set_no_closed_streams(made, 1);
  // nghttp2 would look at the clock itself; the server's budget of resets does this.
  nghttp2_option_set_stream_reset_rate_limit(made, UINT64_MAX, UINT64_MAX);
  return Option(made);
}

std::string printable(ByteView bytes) {
  std::string text(as_text(bytes).substr(0, kMaxReason));
  std::replace_if(text.begin(), text.end(), [](char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return text;
}

Http2Session::GoAway read_goaway(const nghttp2_goaway& frame) {
  return {frame.error_code, printable({frame.opaque_data, frame.opaque_data_len})};
}

}  // namespace

std::string_view Http2Session::name_of(State state) {
  switch (state) {
    case State::kUnconfirmed: return "unconfirmed";
    case State::kConfirmed: return "confirmed";
    case State::kLeaving: return "leaving";
    case State::kSilent: return "silent";
  }
  return "unknown";
}

Http2Session::Http2Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options)
    : HttpSession(side, connection, shared, options),
      connection_window_(options.connection_window, options.max_connection_window) {}

Http2Session::~Http2Session() { nghttp2_session_del(http_); }

bool Http2Session::start() {
  const Http2Callbacks::Table callbacks = Http2Callbacks::table();
  const Option option = make_option();
  if (!callbacks || !option) return false;
  const bool server = side_ == Side::kServer;
  const int made = server ? nghttp2_session_server_new2(&http_, callbacks.get(), this, option.get())
                          : nghttp2_session_client_new2(&http_, callbacks.get(), this, option.get());
  if (made != 0) return false;
  const auto stream_window = static_cast<std::uint32_t>(ReceiveWindow(options_.stream_window, 0).size());
  const auto streams = static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.max_streams, UINT32_MAX));
  // The first four are both ends'. A server opens no streams, and what a client says of priorities changes nothing.
  const std::array<nghttp2_settings_entry, 6> settings{{
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0},  // no state that a peer could make this end keep
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxFieldSection},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server ? streams : 0},
      server ? nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}
             : nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  if (nghttp2_submit_settings(http_, NGHTTP2_FLAG_NONE, settings.data(), server ? 6 : 5) != 0 ||
      nghttp2_session_set_local_window_size(http_, NGHTTP2_FLAG_NONE, 0, connection_window_.size()) != 0) {
    return false;
  }
  if (is_draining()) announce_drain();
  return true;
}

// ---- bytes in ----

bool Http2Session::handle_bytes(Instant now, ByteView bytes) {
  now_ = now;
  const ssize_t read = nghttp2_session_mem_recv(http_, bytes.data(), bytes.size());
  execute_condemned();
  if (read == NGHTTP2_ERR_FLOODED) fail_with(NGHTTP2_ENHANCE_YOUR_CALM, "a flood of frames that want an answer");
  if (read == NGHTTP2_ERR_BAD_CLIENT_MAGIC) fail_with(NGHTTP2_PROTOCOL_ERROR, "this is not HTTP/2");
  if (read < 0) fail_with(NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror(static_cast<int>(read)));
  check_outbound();
  return !failure_;
}

// The first reason counts.
void Http2Session::fail_with(std::uint32_t code, std::string_view reason) {
  if (!failure_) failure_ = GoAway{code, std::string(reason)};
}

// Resets that invalid frames provoke wait in nghttp2 without a bound.
void Http2Session::check_outbound() {
  if (nghttp2_session_get_outbound_queue_size(http_) <= outbound_limit()) return;
  fail_with(NGHTTP2_ENHANCE_YOUR_CALM, "a flood of requests that want an answer");
}

// For every stream a response, a window and a reset, and as much again for streams that have just ended.
std::size_t Http2Session::outbound_limit() const { return 6 * static_cast<std::size_t>(options_.max_streams) + 256; }

bool Http2Session::handle_frame_begin(const nghttp2_frame_hd& header) {
  // These are limited by number and size of streams and header sections.
  if (header.type == NGHTTP2_HEADERS || header.type == NGHTTP2_CONTINUATION) return true;
  if (budget_.take(now_)) return true;
  fail_with(NGHTTP2_ENHANCE_YOUR_CALM, "a flood of frames that carry nothing");
  return false;
}

void Http2Session::handle_begin_head(const nghttp2_headers& frame) {
  const std::int32_t number = frame.hd.stream_id;
  Stream* const stream = streams_.find(number);
  if (side_ == Side::kServer && stream == nullptr) {
    // Streams whose bytes nobody has read yet outlive what nghttp2 counts.
    if (streams_.size() >= 2 * options_.max_streams) {
      nghttp2_submit_rst_stream(http_, NGHTTP2_FLAG_NONE, number, NGHTTP2_REFUSED_STREAM);
      return;
    }
    track(number);
    static_cast<void>(begin_head(number));
    // Streams take turns, each with one DATA frame (RFC 9218 section 10).
    const nghttp2_extpri turns{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    nghttp2_session_change_extpri_stream_priority(http_, number, &turns, 1);
    return;
  }
  if (stream == nullptr) return;
  if (side_ == Side::kClient && stream->state() == Stream::State::kRequested) {
    static_cast<void>(begin_head(number));
  } else if (stream->state() == Stream::State::kRequested || stream->state() == Stream::State::kOpen) {
    // RFC 9113 section 8.5: only DATA "MUST" come on a connected stream; so no trailers.
    condemn(*stream, kHttpMessageError);
  }
}

void Http2Session::handle_frame(const nghttp2_frame& frame) {
  Stream* const stream = streams_.find(frame.hd.stream_id);
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      if (stream == nullptr) return;
      end_head(*stream);
      if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) finish_receiving(*stream);
      return;
    case NGHTTP2_RST_STREAM:
      if (stream != nullptr && reset_by_peer(stream, from_http2_code(frame.rst_stream.error_code))) ++early_resets_;
      return;
    case NGHTTP2_SETTINGS:
      if (state_ == State::kUnconfirmed) transition_to(State::kConfirmed);
      return;
    case NGHTTP2_GOAWAY: peer_goaway_ = read_goaway(frame.goaway); return;
    default: return;
  }
}

void Http2Session::handle_closed(std::int64_t number, std::uint32_t code) {
  windows_.erase(number);
  Stream* const stream = streams_.find(number);
  if (stream == nullptr) return;
  // What this end or the peer has reset is over already; here it is nghttp2 that found the message malformed, or a
  // GOAWAY that left the request out.
  if (code != NGHTTP2_NO_ERROR && reset_by_peer(stream, from_http2_code(code))) ++early_resets_;
  handle_transport_closed(*stream);
}

std::uint32_t Http2Session::take_early_resets() { return std::exchange(early_resets_, 0); }

// ---- bytes out ----

std::size_t Http2Session::fill(MutableBytes room) {
  if (http_ == nullptr) return 0;
  room_ = room;
  for (;;) {
    const std::size_t count = std::min(serialized_.size(), room_.size());
    std::copy_n(serialized_.begin(), count, room_.begin());
    serialized_ = serialized_.subspan(count);
    room_ = room_.subspan(count);
    if (room_.empty() || said_goodbye()) break;
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(http_, &bytes);
    if (size < 0) fail_with(NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(static_cast<int>(size)));
    if (size <= 0) break;
    serialized_ = {bytes, static_cast<std::size_t>(size)};
  }
  return room.size() - std::exchange(room_, {}).size();
}

// False when it has to wait for the next fill().
bool Http2Session::write_data(std::int64_t number, ByteView header, std::size_t size) {
  if (room_.size() < header.size() + size) return false;
  std::copy(header.begin(), header.end(), room_.begin());
  room_ = room_.subspan(header.size());
  Stream* const stream = streams_.find(number);
  while (size > 0 && stream != nullptr) {
    const ByteView next = stream->out.front();
    const std::size_t count = std::min(size, next.size());
    std::copy_n(next.begin(), count, room_.begin());
    room_ = room_.subspan(count);
    size -= count;
    release(*stream, count);
  }
  return true;
}

void Http2Session::handle_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_DATA) budget_.handle_progress();
  if (frame.hd.type == NGHTTP2_GOAWAY) handle_goaway_sent(frame.goaway);
  if (side_ == Side::kServer && frame.hd.type == NGHTTP2_HEADERS &&
      (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
      nghttp2_session_get_stream_remote_close(http_, frame.hd.stream_id) == 0) {
    // RFC 9113 section 8.1: a server that has answered in full and wants no more of the request says so.
    nghttp2_submit_rst_stream(http_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR);
  }
}

void Http2Session::handle_goaway_sent(const nghttp2_goaway& frame) {
  // With an error that this end has not asked for, nghttp2 has found what the peer did wrong.
  const bool leaving = state_ == State::kLeaving;
  const bool found = !leaving && frame.error_code != NGHTTP2_NO_ERROR;
  if (found) failure_ = read_goaway(frame);
  if (goaways_waiting_ > 0) --goaways_waiting_;  // the first may be drain()'s, which is no farewell
  if (found || (leaving && goaways_waiting_ == 0)) transition_to(State::kSilent);
}

void Http2Session::transition_to(State state) {
  if (options_.log.enabled(LogLevel::kDebug)) {
    options_.log(LogLevel::kDebug, fmt::format("tunnel.http2.state from={} to={}", name_of(state_), name_of(state)));
  }
  state_ = state;
}

void Http2Session::ping() { nghttp2_submit_ping(http_, NGHTTP2_FLAG_NONE, nullptr); }

void Http2Session::say_goodbye(std::uint32_t code, std::string_view reason) {
  transition_to(State::kLeaving);
  ++goaways_waiting_;
  const ByteView text = as_bytes(reason.substr(0, kMaxReason));
  nghttp2_submit_goaway(http_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(http_), code, text.data(),
                        text.size());
}

}  // namespace natt::tunnel
