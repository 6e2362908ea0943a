// SPDX-License-Identifier: Apache-2.0
// The stream verbs of HttpSession: what the application calls.

#include <algorithm>
#include <array>
#include <utility>

#include <natt/tunnel/errc.h>

#include "src/http/error_codes.h"
#include "src/http/http_session.h"
#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

// Beyond it datagrams in capsules would only queue up.
constexpr std::size_t kMaxCapsuleBacklog = 256 * 1024;

}  // namespace

void HttpSession::accept(std::int64_t number) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() != Stream::State::kRequested) return;
  if (!submit_acceptance(number, RequestFields::success(stream->protocol()))) return;
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

void HttpSession::reject(std::int64_t number, int status, std::string_view reason) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() != Stream::State::kRequested) return;
  credit_discarded(*stream);
  stream->refuse();
  if (!submit_status(*stream, std::clamp(status, 400, 599), reason)) reset(number, kHttpRequestRejected);
}

void HttpSession::drain() {
  if (std::exchange(draining_, true)) return;
  announce_drain();
}

MutableBytes HttpSession::reserve(std::int64_t number) {
  Stream* const stream = closed_ ? nullptr : streams_.find(number);
  if (stream == nullptr || stream->carries_datagrams() || !stream->may_write(side_ == Side::kClient)) return {};
  if (has_room(*stream)) return stream->out.tail_space();
  stream->wants_room = true;
  return {};
}

void HttpSession::commit(std::int64_t number, std::size_t size) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr) return;
  if (size == 0) {
    if (stream->out.empty()) stream->out.clear();  // gives the chunk back that reserve() took
    return;
  }
  stream->out.commit(size);
  buffered_out_ += size;
  wake(*stream);
}

void HttpSession::shutdown_write(std::int64_t number) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_write(side_ == Side::kClient)) return;
  stream->finish_writing();
  wake(*stream);
}

ByteView HttpSession::peek(std::int64_t number) const {
  const Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_read()) return {};
  return stream->in.front();
}

void HttpSession::consume(std::int64_t number, std::size_t size) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !stream->may_read()) return;
  size = std::min(size, stream->in.size());
  stream->in.pop(size);
  credit(number, size);
  if (stream->in.empty()) streams_.list(*stream);  // Finished or StreamClosed may have waited for it
}

void HttpSession::reset(std::int64_t number, std::uint64_t code) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->state() == Stream::State::kOver) return;
  abort(*stream, code);
  stream->reset_locally();
}

Result<void> HttpSession::send_capsule(std::int64_t number, const ControlCapsule& capsule) {
  if (closed_) return fail(Errc::kClosed, "the tunnel is closed");
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || stream->protocol() != Protocol::kIp || !stream->may_write(side_ == Side::kClient)) {
    return fail(Errc::kInvalid, "capsules go on an open CONNECT-IP stream only");
  }
  ByteBuffer bytes;
  if (!serialize_capsule(capsule, bytes)) {
    return fail(Errc::kInvalid, "the capsule breaks the rules of RFC 9484 (order, overlap, ids or size)");
  }
  if (stream->out.size() + bytes.size() > kMaxCapsuleBacklog) return fail(Errc::kLimit, "the stream is congested");
  append_out(*stream, bytes);
  wake(*stream);
  return {};
}

bool HttpSession::send_datagram_capsule(std::int64_t number, ByteView payload) {
  Stream* const stream = streams_.find(number);
  if (stream == nullptr || !takes_datagrams(number)) return false;
  const std::size_t value_size = 1 + payload.size();  // context id 0
  if (stream->out.size() + value_size > kMaxCapsuleBacklog) return false;
  std::array<std::uint8_t, 10> header{};
  std::size_t size = store_varint(header.data(), static_cast<std::uint64_t>(CapsuleType::kDatagram));
  size += store_varint(header.data() + size, value_size);
  header[size++] = 0;
  append_out(*stream, ByteView{header}.first(size));
  append_out(*stream, payload);
  wake(*stream);
  return true;
}

bool HttpSession::takes_datagrams(std::int64_t number) const {
  const Stream* const stream = streams_.find(number);
  return stream != nullptr && stream->carries_datagrams() && stream->state() == Stream::State::kOpen &&
         !stream->fin_wanted();
}

}  // namespace natt::tunnel
