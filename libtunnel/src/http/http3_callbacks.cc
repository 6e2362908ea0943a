// SPDX-License-Identifier: Apache-2.0
#include "src/http/http3_callbacks.h"

namespace natt::tunnel {
namespace {

Http3Session& session_of(void* user) { return *static_cast<Http3Session*>(user); }
Stream* stream_of(void* user) { return static_cast<Stream*>(user); }

std::string_view text_of(nghttp3_rcbuf* buffer) {
  const nghttp3_vec bytes = nghttp3_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

}  // namespace

nghttp3_callbacks Http3Callbacks::table() {
  nghttp3_callbacks callbacks{};
  callbacks.acked_stream_data = acked_stream_data;
  callbacks.recv_data = recv_data;
  callbacks.deferred_consume = deferred_consume;
  callbacks.begin_headers = begin_headers;
  callbacks.recv_header = recv_header;
  callbacks.end_headers = end_headers;
  callbacks.stop_sending = stop_sending;
  callbacks.end_stream = end_stream;
  callbacks.reset_stream = reset_stream;
  callbacks.recv_settings = recv_settings;
  return callbacks;
}

int Http3Callbacks::begin_headers(nghttp3_conn*, Id stream, void* session, void*) noexcept {
  Http3Session& self = session_of(session);
  nghttp3_conn_set_stream_user_data(self.http_, stream, &self.begin_head(stream));
  return 0;
}

int Http3Callbacks::recv_header(nghttp3_conn*, Id, std::int32_t, nghttp3_rcbuf* name, nghttp3_rcbuf* value,
                                std::uint8_t, void*, void* stream) noexcept {
  if (stream == nullptr || !stream_of(stream)->head) return 0;
  const bool bearable = Http3Session::add_field(*stream_of(stream)->head, text_of(name), text_of(value));
  return bearable ? 0 : NGHTTP3_ERR_CALLBACK_FAILURE;
}

int Http3Callbacks::end_headers(nghttp3_conn*, Id, int, void* session, void* stream) noexcept {
  if (stream != nullptr) session_of(session).end_head(*stream_of(stream));
  return 0;
}

int Http3Callbacks::recv_data(nghttp3_conn*, Id number, const std::uint8_t* data, std::size_t size, void* session,
                              void* stream) noexcept {
  if (stream == nullptr) {
    session_of(session).credit(number, size);
  } else {
    session_of(session).receive(*stream_of(stream), {data, size});
  }
  return 0;
}

int Http3Callbacks::deferred_consume(nghttp3_conn*, Id stream, std::size_t consumed, void* session, void*) noexcept {
  session_of(session).credit(stream, consumed);
  return 0;
}

int Http3Callbacks::end_stream(nghttp3_conn*, Id, void* session, void* stream) noexcept {
  if (stream != nullptr) session_of(session).finish_receiving(*stream_of(stream));
  return 0;
}

int Http3Callbacks::acked_stream_data(nghttp3_conn*, Id, std::uint64_t count, void* session, void* stream) noexcept {
  if (stream != nullptr) session_of(session).release(*stream_of(stream), static_cast<std::size_t>(count));
  return 0;
}

int Http3Callbacks::stop_sending(nghttp3_conn*, Id stream, std::uint64_t code, void* session, void*) noexcept {
  ngtcp2_conn_shutdown_stream_read(session_of(session).quic_, 0, stream, code);
  return 0;
}

// nghttp3 found the message malformed.
int Http3Callbacks::reset_stream(nghttp3_conn*, Id stream, std::uint64_t code, void* session, void* context) noexcept {
  Http3Session& self = session_of(session);
  ngtcp2_conn_shutdown_stream_write(self.quic_, 0, stream, code);
  static_cast<void>(self.reset_by_peer(stream_of(context), code));
  return 0;
}

int Http3Callbacks::recv_settings(nghttp3_conn*, const nghttp3_settings* settings, void* session) noexcept {
  session_of(session).peer_datagrams_ = settings->h3_datagram != 0;
  return 0;
}

nghttp3_ssize Http3Callbacks::read_data(nghttp3_conn*, Id, nghttp3_vec* parts, std::size_t capacity,
                                        std::uint32_t* flags, void*, void* context) noexcept {
  Stream& stream = *stream_of(context);
  std::size_t count = 0;
  for (; count < capacity; ++count) {
    const ByteView bytes = stream.out.read_ahead();
    if (bytes.empty()) break;
    // nghttp3 only reads; its struct is shared with what it returns.
    parts[count] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  }
  if (stream.fin_wanted() && stream.out.unread() == 0) {
    *flags |= NGHTTP3_DATA_FLAG_EOF;
  } else if (count == 0) {
    stream.starved = true;
    return NGHTTP3_ERR_WOULDBLOCK;
  }
  return static_cast<nghttp3_ssize>(count);
}

}  // namespace natt::tunnel
