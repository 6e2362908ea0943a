// SPDX-License-Identifier: Apache-2.0
// What Http3Session sends: requests, responses and ends of streams.

#include <natt/tunnel/errc.h>

#include "src/http/http3_callbacks.h"
#include "src/http/http3_session.h"

namespace natt::tunnel {

Result<StreamId> Http3Session::open(Protocol protocol, const Authority& target, std::string_view authority) {
  if (!http_) return fail(Errc::kClosed, "the tunnel is not connected");
  std::int64_t number = -1;
  const int opened = ngtcp2_conn_open_bidi_stream(quic_, &number, nullptr);
  if (opened == NGTCP2_ERR_STREAM_ID_BLOCKED) {
    return fail(Errc::kLimit, "the gateway allows no further stream at the moment");
  }
  if (opened != 0) return fail(Errc::kClosed, "the connection is closing");

  Stream& stream = streams_.add(number, protocol, Stream::State::kRequested);
  const RequestFields request = RequestFields::connect(protocol, target, authority);
  const auto fields = request.to<nghttp3_nv>();
  const nghttp3_data_reader reader = Http3Callbacks::data_reader();
  const int submitted =
      nghttp3_conn_submit_request(http_, number, fields.data(), fields.size(), &reader, &stream);
  if (submitted == 0) return stream.id();

  ngtcp2_conn_shutdown_stream(quic_, 0, number, NGHTTP3_H3_REQUEST_CANCELLED);
  streams_.remove(number);
  if (submitted == NGHTTP3_ERR_CONN_CLOSING) return fail(Errc::kRefused, "the gateway is shutting down");
  return fail(Errc::kInvalid, "the request cannot be encoded");
}

void Http3Session::announce_drain() {
  if (http_) nghttp3_conn_shutdown(http_);
}

bool Http3Session::submit_acceptance(std::int64_t number, const RequestFields& response) {
  const auto fields = response.to<nghttp3_nv>();
  const nghttp3_data_reader reader = Http3Callbacks::data_reader();
  return nghttp3_conn_submit_response(http_, number, fields.data(), fields.size(), &reader) == 0;
}

bool Http3Session::submit_refusal(std::int64_t number, const RequestFields& response) {
  const auto fields = response.to<nghttp3_nv>();
  if (nghttp3_conn_submit_response(http_, number, fields.data(), fields.size(), nullptr) != 0) return false;
  // RFC 9114 section 4.1.1: the response is complete without the rest of the request.
  ngtcp2_conn_shutdown_stream_read(quic_, 0, number, NGHTTP3_H3_NO_ERROR);
  return true;
}

void Http3Session::finish_refused(std::int64_t number) {
  ngtcp2_conn_shutdown_stream_write(quic_, 0, number, NGHTTP3_H3_NO_ERROR);
  nghttp3_conn_shutdown_stream_write(http_, number);
}

void Http3Session::reset_on_wire(std::int64_t number, std::uint64_t code) {
  ngtcp2_conn_shutdown_stream(quic_, 0, number, code);
  nghttp3_conn_shutdown_stream_write(http_, number);
  nghttp3_conn_shutdown_stream_read(http_, number);
}

}  // namespace natt::tunnel
