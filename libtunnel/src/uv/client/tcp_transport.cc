// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/tcp_transport.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include <natt/errc.h>

#include "src/uv/client/silence_watch.h"

namespace natt::tunnel::uv {
namespace {

// Wishes: a kernel that refuses one is used all the same.
void prepare(int descriptor) {
  const auto set = [descriptor](int level, int option, int value) {
    static_cast<void>(::setsockopt(descriptor, level, option, &value, sizeof value));
  };
  // The streams share the connection: what one of them has put into the kernel delays all others.
  set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(TcpTransport::kAhead));
  // A host that went away without a word is noticed as on a UDP path; the relay's kernel answers for its host only, and
  // SilenceWatch looks after what is behind it.
  constexpr int kIdle = 14;
  constexpr int kInterval = 5;
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kIdle);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kInterval);
  const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(SilenceWatch::kSilence).count();
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(silence));
}

AttemptFailure failure_of(const Error& error) {
  if (error.code == make_error_code(natt::Errc::kRefused)) return AttemptFailure::kRefused;
  if (error.code == make_error_code(natt::Errc::kUnavailable)) return AttemptFailure::kUnavailable;
  if (error.code == make_error_code(natt::Errc::kTimeout)) return AttemptFailure::kTimeout;
  return AttemptFailure::kHandshake;
}

}  // namespace

TcpTransport::~TcpTransport() = default;

void TcpTransport::connect(Instant now, uv_loop_s& loop, const SocketAddress& to, HelloMaker make_hello) {
  make_hello_ = std::move(make_hello);
  race_ = std::make_unique<natt::uv::TcpRace>(loop, static_cast<natt::uv::TcpRace::Listener&>(*this));
  race_->start(now, to);
}

Result<void> TcpTransport::join(Instant now, natt::uv::SiteSignaling& signaling, BrokerIndex broker,
                              const RelayGrantMessage& grant) {
  auto join = signaling.join_relay(now, broker, grant, *this);
  if (!join) return tl::unexpected(join.error());
  join_ = std::move(*join);
  return {};
}

// A fresh frame over the same ClientHello: one TLS object, whichever connection it is that the gateway answers on.
ByteBuffer TcpTransport::make_first_flight() {
  const ByteView client_hello = client_->client_hello();
  ByteBuffer flight = make_hello_(client_hello);
  flight.insert(flight.end(), client_hello.begin(), client_hello.end());
  return flight;
}

void TcpTransport::on_race_won(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  // The flight had it.
  const std::size_t sent = client_->client_hello().size();
  if (client_->output(now).size() >= sent) client_->consume_output(sent);
  open(now, std::move(connection));
}

void TcpTransport::on_relay_joined(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  open(now, std::move(connection));
}

void TcpTransport::open(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  connection_ = std::move(connection);
  connection_->set_listener(*this);
  remote_ = connection_->remote_address();
  prepare(connection_->descriptor());
  race_.reset();
  join_.reset();
  transition_to(State::kOpen);
  owner_.on_transport_progress(now);
}

void TcpTransport::on_race_lost(Instant now, const Error& error) {
  failure_ = failure_of(error);
  end(now, error);
}

void TcpTransport::on_relay_join_failed(Instant now, const Error& error) {
  failure_ = failure_of(error);
  end(now, error);
}

void TcpTransport::on_bytes(Instant now, ByteView bytes) {
  client_->handle_bytes(now, bytes);
  owner_.on_transport_progress(now);
}

void TcpTransport::on_eof(Instant now) { end(now, {natt::Errc::kClosed, "the gateway closed the TCP connection"}); }
void TcpTransport::on_drained(Instant now) { owner_.on_transport_progress(now); }
void TcpTransport::on_closed(Instant now, const Error& error) { end(now, error); }

void TcpTransport::end(Instant now, const Error& error) {
  transition_to(State::kOver);
  race_.reset();
  join_.reset();
  connection_.reset();
  client_->handle_disconnected(now, error);
  owner_.on_transport_progress(now);
}

void TcpTransport::close(Instant now, std::string_view reason) {
  client_->close(now, reason);
  race_.reset();
  join_.reset();
  transition_to(connection_ ? State::kClosing : State::kOver);
}

bool TcpTransport::pump(Instant now) {
  if (!connection_) return state_ == State::kOver;
  while (connection_->write_queue_bytes() < kAhead) {
    const ByteView output = client_->output(now);
    if (output.empty()) break;
    connection_->write(output);
    client_->consume_output(output.size());
  }
  const bool all_sent = client_->output(now).empty();
  // Closed with bytes of the gateway unread, the socket would send a reset and the farewell be lost to it: its end
  // first.
  if (all_sent && state_ == State::kClosing) connection_->shutdown();
  return false;
}

ConnectionStats TcpTransport::stats() const {
  ConnectionStats stats = client_->stats();
  const auto rtt = connection_ ? connection_->smoothed_rtt() : std::nullopt;
  using std::chrono::microseconds;
  if (rtt) stats.smoothed_rtt_us = static_cast<std::uint64_t>(std::chrono::duration_cast<microseconds>(*rtt).count());
  return stats;
}

bool TcpTransport::moves_backlog() {
  if (!connection_) return false;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(connection_->descriptor(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  const std::uint64_t before = std::exchange(octets_taken_, info.tcpi_bytes_acked);
  const bool waits = connection_->write_queue_bytes() > 0 || info.tcpi_notsent_bytes > 0;
  return waits && octets_taken_ != before;
}

SocketAddress TcpTransport::local() const { return connection_ ? connection_->local_address() : SocketAddress{}; }

}  // namespace natt::tunnel::uv
