// SPDX-License-Identifier: Apache-2.0
#include "src/quic/connection.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <ngtcp2/ngtcp2_crypto_boringssl.h>

#include <natt/tunnel/errc.h>

#include "src/quic/close_reason.h"
#include "src/quic/quic_callbacks.h"
#include "src/quic/quic_settings.h"
#include "src/quic/timestamp.h"

namespace natt::tunnel {
namespace {

std::string_view to_string(Connection::State state) {
  switch (state) {
    case Connection::State::kHandshaking: return "handshaking";
    case Connection::State::kOpen: return "open";
    case Connection::State::kClosing: return "closing";
    case Connection::State::kDraining: return "draining";
    case Connection::State::kDone: return "done";
  }
  return "unknown";
}

}  // namespace

Connection::Connection(const Environment& environment, const Start& start)
    : side_(start.side),
      environment_(environment),
      http_(start.side, start.id, environment.shared, environment.options),
      writer_(start.side, http_, environment.options.datagram_send_queue),
      path_(start.path) {}

Connection::~Connection() {
  ngtcp2_conn_del(quic_);
  SSL_free(tls_);
}

Result<std::unique_ptr<Connection>> Connection::make(Instant now, const Environment& environment, const Start& start) {
  std::unique_ptr<Connection> connection(new Connection(environment, start));
  if (auto made = connection->make_tls(start); !made) return tl::unexpected(made.error());
  if (auto made = connection->make_quic(now, start); !made) return tl::unexpected(made.error());
  connection->last_heard_ = connection->latest_ = now;
  return connection;
}

Result<void> Connection::make_tls(const Start& start) {
  tls_ = SSL_new(environment_.tls.native());
  if (tls_ == nullptr) return fail(Errc::kHandshake, "the TLS library has no memory for another connection");
  reference_.get_conn = QuicCallbacks::connection_of;
  reference_.user_data = this;
  SSL_set_app_data(tls_, &reference_);
  if (side_ == Side::kClient) {
    SSL_set_connect_state(tls_);
  } else {
    SSL_set_accept_state(tls_);
  }
  expect_peer(tls_, start.expectation, start.wall_now);
  return {};
}

Result<void> Connection::make_quic(Instant now, const Start& start) {
  const ngtcp2_callbacks callbacks = QuicCallbacks::table(side_);
  const QuicSettings settings(now, side_, environment_.options, environment_.random, start.token);
  const ngtcp2_transport_params params =
      make_transport_parameters(side_, environment_.options, start.original_dcid);
  VirtualPath virtual_path(side_, start.path);
  const ngtcp2_path path = virtual_path.native();
  const ngtcp2_cid dcid = to_cid(start.dcid);
  const ngtcp2_cid scid = to_cid(start.scid);

  const int made = side_ == Side::kClient
                       ? ngtcp2_conn_client_new(&quic_, &dcid, &scid, &path, start.version, &callbacks,
                                                &settings.native, &params, nullptr, this)
                       : ngtcp2_conn_server_new(&quic_, &dcid, &scid, &path, start.version, &callbacks,
                                                &settings.native, &params, nullptr, this);
  if (made != 0) return fail(Errc::kInvalid, fmt::format("the QUIC connection cannot start: {}", ngtcp2_strerror(made)));
  ngtcp2_conn_set_tls_native_handle(quic_, tls_);
  http_.attach(quic_);
  writer_.attach(quic_);
  if (environment_.options.keep_alive > Duration{}) set_keep_alive(environment_.options.keep_alive);
  return {};
}

void Connection::set_keep_alive(Duration interval) {
  // UINT64_MAX is off; 0 is reserved.
  ngtcp2_conn_set_keep_alive_timeout(quic_, interval > Duration{} ? to_quic_duration(interval) : UINT64_MAX);
}

// ---- packets in, time, packets out ----

Connection::Verdict Connection::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  now = advance(now);
  ++packets_in_;
  bytes_in_ += packet.size();
  if (state_ == State::kClosing) closing_.handle_packet(path);
  if (!is_alive()) return Verdict::kTaken;

  VirtualPath virtual_path(side_, path);
  const ngtcp2_path native = virtual_path.native();
  ngtcp2_pkt_info info{};
  info.ecn = ecn;
  const int result = ngtcp2_conn_read_pkt(quic_, &native, &info, packet.data(), packet.size(), to_timestamp(now));
  const bool first = !std::exchange(read_something_, true);
  if (result == 0) {
    last_heard_ = now;
    note_current_path();
    return Verdict::kTaken;
  }
  if (first && side_ == Side::kServer) {
    if (result == NGTCP2_ERR_RETRY) return Verdict::kOutOfOrder;
    if (result == NGTCP2_ERR_DROP_CONN) return Verdict::kUseless;
  }
  handle_failure(now, result);
  return Verdict::kTaken;
}

void Connection::handle_timeout(Instant now) {
  now = advance(now);
  if (!is_alive()) {
    if (state_ != State::kDone && now >= closing_.until()) transition_to(State::kDone);
    return;
  }
  const ngtcp2_tstamp timestamp = to_timestamp(now);
  if (ngtcp2_conn_get_expiry(quic_) > timestamp) return;
  const int result = ngtcp2_conn_handle_expiry(quic_, timestamp);
  if (result != 0) return handle_failure(now, result);
  note_current_path();
}

std::optional<Instant> Connection::next_deadline() const {
  if (state_ == State::kDone) return std::nullopt;
  if (!is_alive()) return closing_.until();
  return to_instant(ngtcp2_conn_get_expiry(quic_));
}

bool Connection::poll_batch(Instant now, PacketBatch& batch) {
  now = advance(now);
  batch.clear();
  if (is_alive()) {
    const auto failure = writer_.fill(now, batch);
    if (!failure) return !batch.empty();
    batch.clear();
    if (failure->http) http_failure_ = failure->http;
    handle_failure(now, failure->http ? NGTCP2_ERR_CALLBACK_FAILURE : failure->quic);
  }
  const ByteView packet = closing_.take();
  if (packet.empty()) return false;
  const MutableBytes slot = batch.next_slot(packet.size());
  std::copy(packet.begin(), packet.end(), slot.begin());
  batch.push(closing_.path(), 0, packet.size());
  return true;
}

// ---- handshake and paths ----

int Connection::handle_handshake_completed() {
  auto peer = peer_identity(tls_);
  const auto serial = peer_serial(tls_);
  if (!peer || !serial || !http_.start()) return NGTCP2_ERR_CALLBACK_FAILURE;
  transition_to(State::kOpen);
  tell(Established{std::move(*peer), *serial, path_});
  return 0;
}

void Connection::handle_handshake_confirmed() {
  confirmed_ = true;
  tell(HandshakeConfirmed{});
}

void Connection::handle_path_validation(PathId path, bool valid) {
  if (side_ == Side::kServer || migrating_to_ != path) return;
  migrating_to_.reset();
  if (!valid) tell(PathRefused{path});
}

void Connection::note_current_path() {
  const PathId path = VirtualPath::id_of(side_, *ngtcp2_conn_get_path(quic_));
  if (path == path_) return;
  path_ = path;
  tell(PathSwitched{path});
}

Result<void> Connection::migrate(Instant now, PathId path, bool immediately) {
  if (!is_alive() || !confirmed_) return fail(Errc::kInvalid, "a path can change only after the handshake is confirmed");
  now = advance(now);
  VirtualPath virtual_path(side_, path);
  const ngtcp2_path native = virtual_path.native();
  const int result = immediately ? ngtcp2_conn_initiate_immediate_migration(quic_, &native, to_timestamp(now))
                                 : ngtcp2_conn_initiate_migration(quic_, &native, to_timestamp(now));
  switch (result) {
    case 0: break;
    case NGTCP2_ERR_CONN_ID_BLOCKED: return fail(Errc::kLimit, "the gateway has given no spare connection id");
    case NGTCP2_ERR_INVALID_ARGUMENT: return fail(Errc::kInvalid, "the connection is on this path already");
    default: return fail(Errc::kInvalid, fmt::format("the path cannot change: {}", ngtcp2_strerror(result)));
  }
  migrating_to_ = path;
  note_current_path();
  return {};
}

// ---- the end ----

void Connection::transition_to(State state) {
  if (environment_.options.log.enabled(LogLevel::kDebug)) {
    environment_.options.log(LogLevel::kDebug, fmt::format("tunnel.connection.state from={} to={}", to_string(state_),
                                                           to_string(state)));
  }
  state_ = state;
}

void Connection::close_with(Instant now, std::uint64_t http_error, std::string_view reason, Error why) {
  if (!is_alive()) return;
  ngtcp2_ccerr error{};
  ngtcp2_ccerr_default(&error);
  const ByteView text = as_bytes(reason.substr(0, kMaxReason));
  ngtcp2_ccerr_set_application_error(&error, http_error, text.data(), text.size());
  start_closing(advance(now), error, std::move(why));
}

void Connection::handle_failure(Instant now, int result) {
  if (!is_alive()) return;
  switch (result) {
    case NGTCP2_ERR_DRAINING: return end(State::kDraining, now, error_of_peer(quic_));
    case NGTCP2_ERR_IDLE_CLOSE: return end(State::kDone, now, {Errc::kTimeout, "the peer was silent for too long"});
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT: return end(State::kDone, now, {Errc::kTimeout, "the peer did not finish the handshake"});
    case NGTCP2_ERR_RETRY:  // never answered: a Retry would show that somebody is here
    case NGTCP2_ERR_DROP_CONN: return end(State::kDone, now, {Errc::kHandshake, "the handshake broke off"});
    default: break;
  }
  ngtcp2_ccerr error{};
  ngtcp2_ccerr_default(&error);
  if (result == NGTCP2_ERR_CRYPTO) {
    ngtcp2_ccerr_set_tls_alert(&error, ngtcp2_conn_get_tls_alert(quic_), nullptr, 0);
    return start_closing(now, error, error_of_tls(tls_));
  }
  if (http_failure_) {
    ngtcp2_ccerr_set_application_error(&error, *http_failure_, nullptr, 0);
    const Error why{Errc::kProtocol, fmt::format("HTTP/3 error 0x{:x}", *http_failure_)};
    return start_closing(now, error, why);
  }
  ngtcp2_ccerr_set_liberr(&error, result, nullptr, 0);
  start_closing(now, error, {Errc::kProtocol, fmt::format("QUIC error {}", ngtcp2_strerror(result))});
}

void Connection::start_closing(Instant now, const ngtcp2_ccerr& error, Error why) {
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  const MutableBytes buffer = closing_.buffer();
  const ngtcp2_ssize size = ngtcp2_conn_write_connection_close(quic_, &path.path, &info, buffer.data(), buffer.size(),
                                                               &error, to_timestamp(now));
  if (size <= 0) return end(State::kDone, now, std::move(why));
  const Duration thrice = Duration(static_cast<Duration::rep>(3 * ngtcp2_conn_get_pto(quic_)));
  closing_.arm(static_cast<std::size_t>(size), VirtualPath::id_of(side_, path.path), now + thrice);
  transition_to(State::kClosing);
  tell_end(std::move(why));
}

void Connection::end(State state, Instant now, Error why) {
  closing_.drain(now + Duration(static_cast<Duration::rep>(3 * ngtcp2_conn_get_pto(quic_))));
  transition_to(state);
  tell_end(std::move(why));
}

// ---- datagrams and figures ----

std::uint32_t Connection::take_early_resets() { return std::exchange(early_resets_, 0); }

DatagramResult Connection::send_datagram(StreamId stream, ByteView payload) {
  return is_alive() ? writer_.send_datagram(stream, payload) : DatagramResult::kNotAllowed;
}

std::size_t Connection::datagram_limit(std::int64_t stream) const {
  return http_.takes_datagrams(stream) ? std::min(writer_.datagram_limit(stream), kMaxDatagram) : 0;
}

ConnectionStats Connection::stats() const {
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(quic_, &info);
  ConnectionStats stats;
  stats.bytes_in = bytes_in_;
  stats.packets_in = packets_in_;
  stats.bytes_out = writer_.bytes();
  stats.packets_out = writer_.packets();
  stats.smoothed_rtt_us = info.smoothed_rtt / NGTCP2_MICROSECONDS;
  stats.congestion_window = info.cwnd;
  stats.datagrams_dropped_in = http_.counters().datagrams_dropped_in;
  stats.datagrams_dropped_out = writer_.datagrams_dropped();
  stats.streams = static_cast<std::uint32_t>(http_.stream_count());
  stats.max_udp_payload = ngtcp2_conn_get_path_max_tx_udp_payload_size(quic_);
  return stats;
}

}  // namespace natt::tunnel
