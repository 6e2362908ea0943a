// SPDX-License-Identifier: Apache-2.0
#include "src/http/http2_callbacks.h"

#include <algorithm>

namespace natt::tunnel {
namespace {

constexpr std::size_t kFrameHeader = 9;  // RFC 9113 section 4.1

Http2Session& session_of(void* user) { return *static_cast<Http2Session*>(user); }
std::string_view text_of(const std::uint8_t* bytes, std::size_t size) { return as_text({bytes, size}); }

}  // namespace

Http2Callbacks::Table Http2Callbacks::table() {
  nghttp2_session_callbacks* made = nullptr;
  if (nghttp2_session_callbacks_new(&made) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_begin_frame_callback(made, begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(made, begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(made, recv_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(made, recv_frame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, recv_invalid_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, recv_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(made, close_stream);
  nghttp2_session_callbacks_set_on_frame_send_callback(made, sent_frame);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(made, frame_not_sent);
  nghttp2_session_callbacks_set_send_data_callback(made, send_data);
  return Table(made);
}

int Http2Callbacks::begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* session) noexcept {
  return session_of(session).handle_frame_begin(*header) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Http2Callbacks::begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept {
  // Not for PUSH_PROMISE, which nghttp2 refuses behind this call.
  if (frame->hd.type == NGHTTP2_HEADERS) session_of(session).handle_begin_head(frame->headers);
  return 0;
}

int Http2Callbacks::recv_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                                std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t,
                                void* session) noexcept {
  Http2Session& self = session_of(session);
  Stream* const stream = self.streams_.find(frame->hd.stream_id);
  if (stream == nullptr || !stream->head) return 0;
  if (Http2Session::add_field(*stream->head, text_of(name, name_size), text_of(value, value_size))) return 0;
  self.fail_with(NGHTTP2_ENHANCE_YOUR_CALM, "a header section is far beyond the limit");
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Http2Callbacks::recv_frame(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept {
  session_of(session).handle_frame(*frame);
  return 0;
}

// A request that nghttp2 answers with a reset costs as much as one that the client takes back.
int Http2Callbacks::recv_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int, void* session) noexcept {
  if (frame->hd.stream_id != 0) ++session_of(session).early_resets_;
  return 0;
}

int Http2Callbacks::recv_data(nghttp2_session*, std::uint8_t, Id number, const std::uint8_t* data, std::size_t size,
                              void* session) noexcept {
  Http2Session& self = session_of(session);
  self.budget_.handle_progress();
  if (Stream* const stream = self.streams_.find(number)) {
    self.receive(*stream, {data, size});
  } else {
    self.credit(number, size);
  }
  return 0;
}

int Http2Callbacks::close_stream(nghttp2_session*, Id stream, std::uint32_t code, void* session) noexcept {
  session_of(session).handle_closed(stream, code);
  return 0;
}

int Http2Callbacks::sent_frame(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept {
  session_of(session).handle_frame_sent(*frame);
  return 0;
}

// A request that never left: it was taken back before, or the gateway is going.
int Http2Callbacks::frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int, void* session) noexcept {
  const bool request = frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  if (request) session_of(session).handle_closed(frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
  return 0;
}

// How much goes into the next DATA frame, and whether it is the last; send_data() moves the octets.
ssize_t Http2Callbacks::read_data(nghttp2_session*, Id number, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                                  nghttp2_data_source*, void* session) noexcept {
  Stream* const stream = session_of(session).streams_.find(number);
  if (stream == nullptr || stream->state() == Stream::State::kOver) return NGHTTP2_ERR_DEFERRED;  // a reset follows
  const std::size_t count = std::min({size, stream->out.size(), Http2Session::kMinRoom - kFrameHeader});
  const bool last = stream->fin_wanted() && count == stream->out.size();
  if (count == 0 && !last) {
    stream->starved = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (last) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(count);
}

int Http2Callbacks::send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t size,
                              nghttp2_data_source*, void* session) noexcept {
  const bool written = session_of(session).write_data(frame->hd.stream_id, {header, kFrameHeader}, size);
  return written ? 0 : NGHTTP2_ERR_WOULDBLOCK;
}

}  // namespace natt::tunnel
