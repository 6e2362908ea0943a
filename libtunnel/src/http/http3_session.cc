// SPDX-License-Identifier: Apache-2.0
#include "src/http/http3_session.h"

#include <algorithm>

#include "src/http/http3_callbacks.h"
#include "src/http/request_fields.h"
#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

constexpr std::uint64_t kNoError = NGHTTP3_H3_NO_ERROR;
// What a stream may hold before the congestion window is known to be larger, and what it may
// always hold, however much the others do.
constexpr std::size_t kMinSendLimit = 128 * 1024;
constexpr std::size_t kGuaranteedRoom = Chunk::kSize;
// Streams share this many times the limit of one.
constexpr std::size_t kSharedLimit = 8;

Http3Session::Failure failure_of(std::int64_t result) {
  if (result >= 0) return std::nullopt;
  return nghttp3_err_infer_quic_app_error_code(static_cast<int>(result));
}

}  // namespace

Http3Session::Http3Session(Side side, ConnectionId connection, Shared shared, const TransportOptions& options)
    : side_(side), shared_(shared), options_(options), streams_(connection, shared.chunks) {}

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
  return nghttp3_conn_bind_control_stream(http_, control) == 0 &&
         nghttp3_conn_bind_qpack_streams(http_, encoder, decoder) == 0;
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
    stream->transport_closed();
    streams_.list(*stream);
    remove_dead(*stream);
  } else if (remote) {
    ngtcp2_conn_extend_max_streams_bidi(quic_, 1);
  }
  return result == NGHTTP3_ERR_STREAM_NOT_FOUND ? std::nullopt : failure_of(result);
}

bool Http3Session::handle_reset(std::int64_t number, std::uint64_t code) {
  if (!http_) return false;
  nghttp3_conn_shutdown_stream_read(http_, number);
  Stream* const stream = streams_.find(number);
  const bool early = side_ == Side::kServer && (stream == nullptr || stream->state() == Stream::State::kHead ||
                                                stream->state() == Stream::State::kRequested);
  // The other direction has no purpose any more; without this the stream would stay open.
  if (ngtcp2_is_bidi_stream(number) != 0) ngtcp2_conn_shutdown_stream_write(quic_, 0, number, code);
  nghttp3_conn_shutdown_stream_write(http_, number);
  if (stream == nullptr) return early;
  credit_discarded(*stream);
  stream->reset_by_peer(code);
  streams_.list(*stream);
  return early;
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

// ---- what arrives, from nghttp3's callbacks ----

void Http3Session::begin_head(std::int64_t number) {
  Stream* stream = streams_.find(number);
  if (stream == nullptr) stream = &streams_.add(number, Protocol::kTcp, Stream::State::kHead);
  nghttp3_conn_set_stream_user_data(http_, number, stream);
  stream->head = std::make_unique<MessageHead>();
}

void Http3Session::end_request(Stream& stream) {
  const auto target = read_target(*stream.head);
  stream.head.reset();
  if (stream.state() != Stream::State::kHead) return;
  if (target) {
    stream.arrive(*target);
    streams_.list(stream);
    return;
  }
  stream.refuse();
  if (!submit_status(stream, target.error(), "this gateway serves CONNECT, CONNECT-UDP and CONNECT-IP")) {
    condemn(stream, NGHTTP3_H3_REQUEST_REJECTED);
  }
}

void Http3Session::end_response(Stream& stream) {
  const std::unique_ptr<MessageHead> head = std::move(stream.head);
  if (stream.state() != Stream::State::kRequested || head->status < 200) return;  // 1xx: the answer is still to come
  stream.answer(head->too_large() ? 502 : head->status, reason_of(head->proxy_status));
  streams_.list(stream);
  if (stream.state() == Stream::State::kRefused) condemn(stream, kNoError);
}

void Http3Session::receive(Stream& stream, ByteView bytes) {
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

void Http3Session::receive_capsules(Stream& stream, ByteView bytes) {
  while (auto item = stream.capsules.read(bytes)) {
    if (std::holds_alternative<CapsuleReader::Malformed>(*item)) {
      // RFC 9297 section 3.3: "treat the message as malformed".
      condemn(stream, NGHTTP3_H3_MESSAGE_ERROR);
      return;
    }
    if (const auto* const datagram = std::get_if<CapsuleReader::DatagramPayload>(&*item)) {
      deliver_datagram(stream, datagram->payload);
    } else if (stream.protocol() == Protocol::kIp) {
      if (!stream.queue_capsule(std::move(std::get<ControlCapsule>(*item)))) {
        condemn(stream, NGHTTP3_H3_EXCESSIVE_LOAD);
        return;
      }
      streams_.list(stream);
    }
  }
}

void Http3Session::deliver_datagram(Stream& stream, ByteView payload) {
  if (payload.size() > kMaxDatagram || !shared_.received_datagrams.push(stream.id(), payload)) {
    ++counters_.datagrams_dropped_in;
  }
}

// Sent bytes that the peer has.
void Http3Session::release(Stream& stream, std::size_t count) {
  stream.out.pop(count);
  buffered_out_ -= std::min(count, buffered_out_);
  if (!stream.wants_room || !has_room(stream)) return;
  // Half of the limit, so that the application writes in large pieces.
  if (stream.out.size() > std::max(kGuaranteedRoom / 2, send_limit() / 2)) return;
  stream.wants_room = false;
  stream.note_room();
  streams_.list(stream);
}

void Http3Session::execute_condemned() {
  while (!condemned_.empty()) {
    const auto [number, code] = condemned_.back();
    condemned_.pop_back();
    Stream* const stream = streams_.find(number);
    if (stream == nullptr) continue;
    if (stream->state() == Stream::State::kRefused) {
      // A client that was refused has nothing to send or read any more.
      ngtcp2_conn_shutdown_stream_write(quic_, 0, number, code);
      nghttp3_conn_shutdown_stream_write(http_, number);
    } else {
      abort(*stream, code);
      stream->reset_by_peer(code);
      streams_.list(*stream);
    }
  }
}

// ---- flow control and buffers ----

void Http3Session::credit(std::int64_t stream, std::size_t count) {
  ngtcp2_conn_extend_max_stream_offset(quic_, stream, count);
  ngtcp2_conn_extend_max_offset(quic_, count);
}

// The connection's window has to get back what the stream will never give.
void Http3Session::credit_discarded(Stream& stream) {
  ngtcp2_conn_extend_max_offset(quic_, stream.in.size());
  stream.in.clear();
}

void Http3Session::resume(Stream& stream) {
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

bool Http3Session::has_room(const Stream& stream) const {
  if (stream.out.size() < kGuaranteedRoom) return true;
  const std::size_t limit = send_limit();
  return stream.out.size() < limit && buffered_out_ < limit * kSharedLimit;
}

void Http3Session::remove_dead(Stream& stream) {
  if (!stream.is_dead()) return;
  buffered_out_ -= std::min(stream.out.size(), buffered_out_);
  streams_.remove(stream.id().number);
  // Only now: a client gets a new stream for one whose memory is free again.
  if (side_ == Side::kServer) ngtcp2_conn_extend_max_streams_bidi(quic_, 1);
}

std::optional<StreamEvent> Http3Session::poll_event() {
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
