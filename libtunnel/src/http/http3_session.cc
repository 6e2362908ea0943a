// SPDX-License-Identifier: Apache-2.0
#include "src/http/http3_session.h"

#include <algorithm>

#include "src/http/http3_callbacks.h"
#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

// What a stream may hold before the congestion window is known to be larger.
constexpr std::size_t kMinSendLimit = 128 * 1024;

Http3Session::Failure failure_of(std::int64_t result) {
  if (result >= 0) return std::nullopt;
  return nghttp3_err_infer_quic_app_error_code(static_cast<int>(result));
}

}  // namespace

Http3Session::Http3Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options)
    : HttpSession(side, connection, shared, options) {}

Http3Session::~Http3Session() { nghttp3_conn_del(http_); }

bool Http3Session::start() {
  nghttp3_settings settings{};
  nghttp3_settings_default(&settings);
  settings.max_field_section_size = kMaxFieldSection;
  settings.qpack_max_dtable_capacity = 0;  // no state that a peer could make this end keep
  settings.qpack_encoder_max_dtable_capacity = 0;
  settings.qpack_blocked_streams = 0;
  settings.enable_connect_protocol = side_ == Side::kServer ? 1 : 0;
  settings.h3_datagram = 1;

  const nghttp3_callbacks callbacks = Http3Callbacks::table();
  const bool server = side_ == Side::kServer;
  const int made = server ? nghttp3_conn_server_new(&http_, &callbacks, &settings, nghttp3_mem_default(), this)
                          : nghttp3_conn_client_new(&http_, &callbacks, &settings, nghttp3_mem_default(), this);
  if (made != 0) return false;
  if (server) nghttp3_conn_set_max_client_streams_bidi(http_, options_.max_streams);

  std::int64_t control = -1;
  std::int64_t encoder = -1;
  std::int64_t decoder = -1;
  for (std::int64_t* const stream : {&control, &encoder, &decoder}) {
    if (ngtcp2_conn_open_uni_stream(quic_, stream, nullptr) != 0) return false;
  }
  if (nghttp3_conn_bind_control_stream(http_, control) != 0 ||
      nghttp3_conn_bind_qpack_streams(http_, encoder, decoder) != 0) {
    return false;
  }
  if (is_draining()) announce_drain();
  return true;
}

// ---- from QUIC ----

Http3Session::Failure Http3Session::handle_stream_data(std::int64_t stream, ByteView data, bool fin) {
  if (!http_) return NGHTTP3_H3_INTERNAL_ERROR;
  const nghttp3_ssize consumed = nghttp3_conn_read_stream(http_, stream, data.data(), data.size(), fin ? 1 : 0);
  execute_condemned();
  if (consumed < 0) return failure_of(consumed);
  credit(stream, static_cast<std::size_t>(consumed));
  return std::nullopt;
}

Http3Session::Failure Http3Session::handle_acknowledged(std::int64_t stream, std::uint64_t count) {
  return failure_of(nghttp3_conn_add_ack_offset(http_, stream, count));
}

Http3Session::Failure Http3Session::handle_closed(std::int64_t number, std::uint64_t code) {
  const int result = http_ ? nghttp3_conn_close_stream(http_, number, code) : 0;
  const bool remote = side_ == Side::kServer && ngtcp2_is_bidi_stream(number) != 0;
  Stream* const stream = streams_.find(number);
  if (stream != nullptr) {
    handle_transport_closed(*stream);
  } else if (remote) {
    ngtcp2_conn_extend_max_streams_bidi(quic_, 1);
  }
  return result == NGHTTP3_ERR_STREAM_NOT_FOUND ? std::nullopt : failure_of(result);
}

bool Http3Session::handle_reset(std::int64_t number, std::uint64_t code) {
  if (!http_) return false;
  nghttp3_conn_shutdown_stream_read(http_, number);
  // The other direction has no purpose any more; without this the stream would stay open.
  if (ngtcp2_is_bidi_stream(number) != 0) ngtcp2_conn_shutdown_stream_write(quic_, 0, number, code);
  nghttp3_conn_shutdown_stream_write(http_, number);
  return reset_by_peer(streams_.find(number), code);
}

void Http3Session::handle_stop_sending_done(std::int64_t stream) {
  if (http_) nghttp3_conn_shutdown_stream_read(http_, stream);
}

void Http3Session::handle_window(std::int64_t stream) {
  if (http_) nghttp3_conn_unblock_stream(http_, stream);
}

void Http3Session::handle_datagram(ByteView datagram) {
  ByteReader in(datagram);
  const auto quarter = read_varint(in);
  const auto context = quarter ? read_varint(in) : std::nullopt;
  // RFC 9298 section 4 and RFC 9484 section 6: context 0 is the payload itself; others were never registered.
  Stream* const stream = context == std::uint64_t{0} && *quarter <= kMaxVarint / 4
                             ? streams_.find(static_cast<std::int64_t>(*quarter * 4))
                             : nullptr;
  if (stream == nullptr || !stream->carries_datagrams() || stream->state() != Stream::State::kOpen) {
    ++counters_.datagrams_dropped_in;
    return;
  }
  deliver_datagram(*stream, in.rest());
}

Http3Session::Failure Http3Session::next_pending(Pending& pending) {
  pending.stream = -1;
  pending.fin = 0;
  pending.count = 0;
  if (!http_) return std::nullopt;
  const nghttp3_ssize count =
      nghttp3_conn_writev_stream(http_, &pending.stream, &pending.fin, pending.parts.data(), pending.parts.size());
  if (count < 0) return failure_of(count);
  pending.count = static_cast<std::size_t>(count);
  return std::nullopt;
}

Http3Session::Failure Http3Session::handle_written(std::int64_t stream, std::size_t count) {
  return failure_of(nghttp3_conn_add_write_offset(http_, stream, count));
}

void Http3Session::handle_blocked(std::int64_t stream) { nghttp3_conn_block_stream(http_, stream); }

// The peer sent STOP_SENDING: QUIC has answered with a reset already.
void Http3Session::handle_write_refused(std::int64_t number) {
  nghttp3_conn_shutdown_stream_write(http_, number);
  Stream* const stream = streams_.find(number);
  if (stream == nullptr) return;
  stream->finish_writing();
  stream->wants_room = false;
}

// ---- flow control and buffers ----

void Http3Session::credit(std::int64_t stream, std::size_t count) {
  ngtcp2_conn_extend_max_stream_offset(quic_, stream, count);
  ngtcp2_conn_extend_max_offset(quic_, count);
}

void Http3Session::credit_connection(std::size_t count) { ngtcp2_conn_extend_max_offset(quic_, count); }

void Http3Session::wake(Stream& stream) {
  if (!stream.starved || !http_) return;
  stream.starved = false;
  nghttp3_conn_resume_stream(http_, stream.id().number);
}

// Two congestion windows: what is on its way, and as much to follow it without a pause.
std::size_t Http3Session::send_limit() const {
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(quic_, &info);
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(info.cwnd * 2, options_.send_buffer));
  return std::max(wanted, kMinSendLimit);
}

// A client gets a new stream for one whose memory is free again, not before.
void Http3Session::handle_removed(std::int64_t) {
  if (side_ == Side::kServer) ngtcp2_conn_extend_max_streams_bidi(quic_, 1);
}

}  // namespace natt::tunnel
