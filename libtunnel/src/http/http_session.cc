// SPDX-License-Identifier: Apache-2.0
// What arrives on the streams of HttpSession, and what becomes of them.
#include "src/http/http_session.h"

#include <algorithm>
#include <charconv>

#include "src/http/error_codes.h"

namespace natt::tunnel {
namespace {

// What a stream may always hold, however much the others do.
constexpr std::size_t kGuaranteedRoom = Chunk::kSize;
// Streams share this many times the limit of one.
constexpr std::size_t kSharedLimit = 8;
// Beyond it the peer does not describe a request but fills memory.
constexpr std::size_t kHopelessFieldSection = 4 * kMaxFieldSection;
// RFC 9114 section 4.2.2 and RFC 9113 section 6.5.2: "plus an overhead of 32 bytes for each field".
constexpr std::size_t kFieldOverhead = 32;

void keep(MessageHead& head, std::string_view name, std::string_view value) {
  if (name == ":method") head.method = value;
  if (name == ":protocol") head.protocol = value;
  if (name == ":scheme") head.scheme = value;
  if (name == ":authority") head.authority = value;
  if (name == ":path") head.path = value;
  if (name == ":status") std::from_chars(value.data(), value.data() + value.size(), head.status);
  if (name == "proxy-status") head.proxy_status = value;
}

}  // namespace

HttpSession::HttpSession(Side side, ConnectionId connection, Shared shared, const TransportOptions& options)
    : side_(side), shared_(shared), options_(options), streams_(connection, shared.chunks) {}

// ---- header sections ----

Stream& HttpSession::begin_head(std::int64_t number) {
  Stream* stream = streams_.find(number);
  if (stream == nullptr) stream = &streams_.add(number, Protocol::kTcp, Stream::State::kHead);
  stream->head = std::make_unique<MessageHead>();
  return *stream;
}

bool HttpSession::add_field(MessageHead& head, std::string_view name, std::string_view value) {
  head.size += name.size() + value.size() + kFieldOverhead;
  if (head.size > kHopelessFieldSection) return false;
  if (!head.too_large()) keep(head, name, value);
  return true;
}

void HttpSession::end_head(Stream& stream) {
  if (!stream.head) return;
  if (side_ == Side::kServer) return end_request(stream);
  end_response(stream);
}

void HttpSession::end_request(Stream& stream) {
  const auto target = read_target(*stream.head);
  stream.head.reset();
  if (stream.state() != Stream::State::kHead) return;
  if (draining_) return condemn(stream, kHttpRequestRejected);  // sent before the GOAWAY was heard
  if (target) {
    stream.arrive(*target);
    streams_.list(stream);
    return;
  }
  stream.refuse();
  if (!submit_status(stream, target.error(), "this gateway serves CONNECT, CONNECT-UDP and CONNECT-IP")) {
    condemn(stream, kHttpRequestRejected);
  }
}

void HttpSession::end_response(Stream& stream) {
  const std::unique_ptr<MessageHead> head = std::move(stream.head);
  if (stream.state() != Stream::State::kRequested || head->status < 200) return;  // 1xx: the answer is still to come
  stream.answer(head->too_large() ? 502 : head->status, reason_of(head->proxy_status));
  streams_.list(stream);
  if (stream.state() == Stream::State::kRefused) condemn(stream, kHttpNoError);
}

bool HttpSession::submit_status(Stream& stream, int status, std::string_view reason) {
  return submit_refusal(stream.id().number, RequestFields::failure(status, reason));
}

// ---- bytes ----

void HttpSession::receive(Stream& stream, ByteView bytes) {
  switch (stream.state()) {
    case Stream::State::kHead:
    case Stream::State::kRefused:
    case Stream::State::kOver:
      credit(stream.id().number, bytes.size());
      return;
    case Stream::State::kRequested:  // early data of a client; bounded by the stream's window
      stream.in.append(bytes);
      return;
    case Stream::State::kOpen: break;
  }
  if (stream.carries_datagrams()) {
    receive_capsules(stream, bytes);
    credit(stream.id().number, bytes.size());
    return;
  }
  if (stream.in.empty()) {
    stream.note_readable();
    streams_.list(stream);
  }
  stream.in.append(bytes);
}

void HttpSession::finish_receiving(Stream& stream) {
  stream.finish_reading();
  streams_.list(stream);
}

void HttpSession::receive_capsules(Stream& stream, ByteView bytes) {
  while (auto item = stream.capsules.read(bytes)) {
    if (std::holds_alternative<CapsuleReader::Malformed>(*item)) {
      // RFC 9297 section 3.3: "treat the message as malformed".
      condemn(stream, kHttpMessageError);
      return;
    }
    if (const auto* const datagram = std::get_if<CapsuleReader::DatagramPayload>(&*item)) {
      deliver_datagram(stream, datagram->payload);
    } else if (stream.protocol() == Protocol::kIp) {
      if (!stream.queue_capsule(std::move(std::get<ControlCapsule>(*item)))) {
        condemn(stream, kHttpExcessiveLoad);
        return;
      }
      streams_.list(stream);
    }
  }
}

void HttpSession::deliver_datagram(Stream& stream, ByteView payload) {
  if (payload.size() > kMaxDatagram || !shared_.received_datagrams.push(stream.id(), payload)) {
    ++counters_.datagrams_dropped_in;
  }
}

// ---- ends of streams ----

bool HttpSession::reset_by_peer(Stream* stream, std::uint64_t code) {
  const bool early = side_ == Side::kServer && (stream == nullptr || stream->state() == Stream::State::kHead ||
                                                stream->state() == Stream::State::kRequested);
  if (stream == nullptr) return early;
  credit_discarded(*stream);
  stream->reset_by_peer(code);
  streams_.list(*stream);
  return early;
}

void HttpSession::handle_transport_closed(Stream& stream) {
  stream.transport_closed();
  streams_.list(stream);
  remove_dead(stream);
}

void HttpSession::execute_condemned() {
  while (!condemned_.empty()) {
    const auto [number, code] = condemned_.back();
    condemned_.pop_back();
    Stream* const stream = streams_.find(number);
    if (stream == nullptr) continue;
    if (stream->state() == Stream::State::kRefused) {
      finish_refused(number);
    } else {
      abort(*stream, code);
      stream->reset_by_peer(code);
      streams_.list(*stream);
    }
  }
}

void HttpSession::abort(Stream& stream, std::uint64_t code) {
  credit_discarded(stream);
  reset_on_wire(stream.id().number, code);
}

void HttpSession::remove_dead(Stream& stream) {
  if (!stream.is_dead()) return;
  const std::int64_t number = stream.id().number;
  buffered_out_ -= std::min(stream.out.size(), buffered_out_);
  streams_.remove(number);
  handle_removed(number);
}

// ---- flow control and buffers ----

// The connection's window has to get back what the stream will never give.
void HttpSession::credit_discarded(Stream& stream) {
  credit_connection(stream.in.size());
  stream.in.clear();
}

void HttpSession::release(Stream& stream, std::size_t count) {
  stream.out.pop(count);
  buffered_out_ -= std::min(count, buffered_out_);
  if (!stream.wants_room || !has_room(stream)) return;
  // Half of the limit, so that the application writes in large pieces.
  if (stream.out.size() > std::max(kGuaranteedRoom / 2, send_limit() / 2)) return;
  stream.wants_room = false;
  stream.note_room();
  streams_.list(stream);
}

void HttpSession::append_out(Stream& stream, ByteView bytes) {
  stream.out.append(bytes);
  buffered_out_ += bytes.size();
}

bool HttpSession::has_room(const Stream& stream) const {
  if (stream.out.size() < kGuaranteedRoom) return true;
  const std::size_t limit = send_limit();
  return stream.out.size() < limit && buffered_out_ < limit * kSharedLimit;
}

std::optional<StreamEvent> HttpSession::poll_event() {
  while (Stream* const stream = streams_.first_listed()) {
    if (auto event = stream->next_event()) {
      remove_dead(*stream);
      return event;
    }
    streams_.unlist_first();
  }
  return std::nullopt;
}

}  // namespace natt::tunnel
