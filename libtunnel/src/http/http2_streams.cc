// SPDX-License-Identifier: Apache-2.0
// What Http2Session sends: requests, responses, ends of streams and windows.

#include <algorithm>

#include <natt/tunnel/errc.h>

#include "src/http/error_codes.h"
#include "src/http/http2_callbacks.h"
#include "src/http/http2_session.h"

namespace natt::tunnel {
namespace {

// What a stream holds for the time TLS and the socket take to come back for more; the socket's own buffer covers
// the path.
constexpr std::size_t kSendLimit = 512 * 1024;

std::int32_t native(std::int64_t stream) { return static_cast<std::int32_t>(stream); }

}  // namespace

Result<StreamId> Http2Session::open(Protocol protocol, const Authority& target, std::string_view authority) {
  if (auto refused = why_not_open(protocol)) return tl::unexpected(std::move(*refused));
  const RequestFields request = RequestFields::connect(protocol, target, authority);
  const auto fields = request.to<nghttp2_nv>();
  const nghttp2_data_provider provider = Http2Callbacks::data_provider();
  const std::int32_t number =
      nghttp2_submit_request(http_, nullptr, fields.data(), fields.size(), &provider, nullptr);
  if (number < 0) return fail(Errc::kInvalid, "the request cannot be encoded");
  track(number);
  return streams_.add(number, protocol, Stream::State::kRequested).id();
}

std::optional<Error> Http2Session::why_not_open(Protocol protocol) const {
  if (!http_) return Error{Errc::kClosed, "the tunnel is not connected"};
  if (nghttp2_session_check_request_allowed(http_) == 0) return Error{Errc::kRefused, "the gateway is shutting down"};
  if (protocol != Protocol::kTcp) {
    // RFC 8441 section 3: a client "MUST NOT" use extended CONNECT before the server has said that it takes it.
    if (!is_confirmed()) return Error{Errc::kLimit, "the gateway has not said yet what it serves"};
    if (nghttp2_session_get_remote_settings(http_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 0) {
      return Error{Errc::kRefused, "the gateway serves TCP only"};
    }
  }
  const std::size_t limit = nghttp2_session_get_remote_settings(http_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  if (windows_.size() >= limit || nghttp2_session_get_outbound_queue_size(http_) > outbound_limit()) {
    return Error{Errc::kLimit, "the gateway allows no further stream at the moment"};
  }
  return std::nullopt;
}

void Http2Session::track(std::int64_t stream) {
  windows_.emplace(stream, ReceiveWindow(options_.stream_window, options_.max_stream_window));
}

void Http2Session::announce_drain() {
  if (!http_ || state_ == State::kLeaving || state_ == State::kSilent) return;
  ++goaways_waiting_;
  nghttp2_submit_goaway(http_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(http_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

bool Http2Session::submit_acceptance(std::int64_t number, const RequestFields& response) {
  const auto fields = response.to<nghttp2_nv>();
  const nghttp2_data_provider provider = Http2Callbacks::data_provider();
  return nghttp2_submit_response(http_, native(number), fields.data(), fields.size(), &provider) == 0;
}

bool Http2Session::submit_refusal(std::int64_t number, const RequestFields& response) {
  const auto fields = response.to<nghttp2_nv>();
  return nghttp2_submit_response(http_, native(number), fields.data(), fields.size(), nullptr) == 0;
}

void Http2Session::finish_refused(std::int64_t number) { reset_on_wire(number, kHttpNoError); }

void Http2Session::reset_on_wire(std::int64_t number, std::uint64_t code) {
  if (!windows_.contains(number)) return;  // it has ended both ways
  nghttp2_submit_rst_stream(http_, NGHTTP2_FLAG_NONE, native(number), to_http2_code(code));
}

void Http2Session::wake(Stream& stream) {
  if (!stream.starved || !http_) return;
  stream.starved = false;
  nghttp2_session_resume_data(http_, native(stream.id().number));
}

void Http2Session::credit(std::int64_t number, std::size_t count) {
  credit_connection(count);
  if (count == 0 || http_ == nullptr) return;
  nghttp2_session_consume_stream(http_, native(number), count);
  const auto window = windows_.find(number);
  if (window == windows_.end()) return;
  if (const auto size = window->second.handle_taken(count)) {
    nghttp2_session_set_local_window_size(http_, NGHTTP2_FLAG_NONE, native(number), *size);
  }
}

void Http2Session::credit_connection(std::size_t count) {
  if (count == 0 || http_ == nullptr) return;
  nghttp2_session_consume_connection(http_, count);
  if (const auto size = connection_window_.handle_taken(count)) {
    nghttp2_session_set_local_window_size(http_, NGHTTP2_FLAG_NONE, 0, *size);
  }
}

std::size_t Http2Session::send_limit() const { return std::min(options_.send_buffer, kSendLimit); }

}  // namespace natt::tunnel
