// SPDX-License-Identifier: Apache-2.0
// The stream verbs of Http3Session: what the application calls.

#include <algorithm>

#include <natt/tunnel/errc.h>

#include "src/http/http3_callbacks.h"
#include "src/http/http3_session.h"
#include "src/http/request_fields.h"
#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

// Beyond it datagrams in capsules would only queue up.
constexpr std::size_t kMaxCapsuleBacklog = 256 * 1024;

}  // namespace

Result<StreamId> Http3Session::open(Protocol protocol, const Authority& target, std::string_view authority) {
  if (!http_) return fail(Errc::kClosed, "the tunnel is not connected");
  std::int64_t number = -1;
  const int opened = ngtcp2_conn_open_bidi_stream(quic_, &number, nullptr);
  if (opened == NGTCP2_ERR_STREAM_ID_BLOCKED) {
    return fail(Errc::kLimit, "the gateway allows no further stream at the moment");
  }
  if (opened != 0) return fail(Errc::kClosed, "the connection is closing");

  Stream& stream = streams_.add(number, protocol, Stream::State::kRequested);
  const RequestFields fields = RequestFields::connect(protocol, target, authority);
  const nghttp3_data_reader reader = Http3Callbacks::data_reader();
  const int submitted =
      nghttp3_conn_submit_request(http_, number, fields.data(), fields.size(), &reader, &stream);
  if (submitted == 0) return stream.id();

  ngtcp2_conn_shutdown_stream(quic_, 0, number, NGHTTP3_H3_REQUEST_CANCELLED);
  streams_.remove(number);
  if (submitted == NGHTTP3_ERR_CONN_CLOSING) return fail(Errc::kRefused, "the gateway is shutting down");
  return fail(Errc::kInvalid, "the request cannot be encoded");
}

void Http3Session::accept(std::int64_t number) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() != Stream::State::kRequested) return;
  const RequestFields fields = RequestFields::success(stream->protocol());
  const nghttp3_data_reader reader = Http3Callbacks::data_reader();
  if (nghttp3_conn_submit_response(http_, number, fields.data(), fields.size(), &reader) != 0) return;
  stream->open();
  if (stream->in.empty()) return streams_.list(*stream);
  if (!stream->carries_datagrams()) {
    stream->note_readable();
    return streams_.list(*stream);
  }
  while (!stream->in.empty()) {  // capsules that came with the request
    const ByteView early = stream->in.front();
    receive_capsules(*stream, early);
    credit(number, early.size());
    stream->in.pop(early.size());
  }
  streams_.list(*stream);
  execute_condemned();
}

void Http3Session::reject(std::int64_t number, int status, std::string_view reason) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() != Stream::State::kRequested) return;
  credit_discarded(*stream);
  stream->refuse();
  if (!submit_status(*stream, std::clamp(status, 400, 599), reason)) reset(number, NGHTTP3_H3_REQUEST_REJECTED);
}

bool Http3Session::submit_status(Stream& stream, int status, std::string_view reason) {
  const RequestFields fields = RequestFields::failure(status, reason);
  const std::int64_t number = stream.id().number;
  if (nghttp3_conn_submit_response(http_, number, fields.data(), fields.size(), nullptr) != 0) return false;
  // RFC 9114 section 4.1.1: the response is complete without the rest of the request.
  ngtcp2_conn_shutdown_stream_read(quic_, 0, number, NGHTTP3_H3_NO_ERROR);
  return true;
}

void Http3Session::drain() {
  if (http_) nghttp3_conn_shutdown(http_);
}

MutableBytes Http3Session::reserve(std::int64_t number) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->carries_datagrams() || !stream->may_write(side_ == Side::kClient)) return {};
  if (has_room(*stream)) return stream->out.tail_space();
  stream->wants_room = true;
  return {};
}

void Http3Session::commit(std::int64_t number, std::size_t size) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr) return;
  if (size == 0) {
    if (stream->out.empty()) stream->out.clear();  // gives the chunk back that reserve() took
    return;
  }
  stream->out.commit(size);
  buffered_out_ += size;
  resume(*stream);
}

void Http3Session::shutdown_write(std::int64_t number) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_write(side_ == Side::kClient)) return;
  stream->finish_writing();
  resume(*stream);
}

ByteView Http3Session::peek(std::int64_t number) const {
  const Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_read()) return {};
  return stream->in.front();
}

void Http3Session::consume(std::int64_t number, std::size_t size) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_read()) return;
  size = std::min(size, stream->in.size());
  stream->in.pop(size);
  credit(number, size);
  if (stream->in.empty()) streams_.list(*stream);  // Finished or StreamClosed may have waited for it
}

void Http3Session::reset(std::int64_t number, std::uint64_t code) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() == Stream::State::kOver) return;
  abort(*stream, code);
  stream->reset_locally();
}

void Http3Session::abort(Stream& stream, std::uint64_t code) {
  const std::int64_t number = stream.id().number;
  credit_discarded(stream);
  ngtcp2_conn_shutdown_stream(quic_, 0, number, code);
  nghttp3_conn_shutdown_stream_write(http_, number);
  nghttp3_conn_shutdown_stream_read(http_, number);
}

Result<void> Http3Session::send_capsule(std::int64_t number, const ControlCapsule& capsule) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->protocol() != Protocol::kIp || !stream->may_write(side_ == Side::kClient)) {
    return fail(Errc::kInvalid, "capsules go on an open CONNECT-IP stream only");
  }
  ByteBuffer bytes;
  if (!serialize_capsule(capsule, bytes)) {
    return fail(Errc::kInvalid, "the capsule breaks the rules of RFC 9484 (order, overlap, ids or size)");
  }
  if (stream->out.size() + bytes.size() > kMaxCapsuleBacklog) return fail(Errc::kLimit, "the stream is congested");
  stream->out.append(bytes);
  buffered_out_ += bytes.size();
  resume(*stream);
  return {};
}

bool Http3Session::send_datagram_capsule(std::int64_t number, ByteView payload) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !takes_datagrams(number)) return false;
  const std::size_t value_size = 1 + payload.size();  // context id 0
  if (stream->out.size() + value_size > kMaxCapsuleBacklog) return false;
  std::array<std::uint8_t, 10> header{};
  std::size_t size = store_varint(header.data(), static_cast<std::uint64_t>(CapsuleType::kDatagram));
  size += store_varint(header.data() + size, value_size);
  header[size++] = 0;
  stream->out.append(ByteView{header}.first(size));
  stream->out.append(payload);
  buffered_out_ += size + payload.size();
  resume(*stream);
  return true;
}

bool Http3Session::takes_datagrams(std::int64_t number) const {
  const Stream* const stream = streams_.find(number);
  return stream != nullptr && stream->carries_datagrams() && stream->state() == Stream::State::kOpen &&
         !stream->fin_wanted();
}

}  // namespace natt::tunnel
