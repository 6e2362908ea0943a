// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/tcp_connection.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <natt/errc.h>
#include <natt/uv/timer.h>

#include "src/uv/bound_socket.h"
#include "src/uv/native_address.h"
#include "src/uv/write_queue.h"

namespace natt::uv {
namespace {

// Per turn of the loop, so that one fast sender does not starve the others.
constexpr int kReadsPerTurn = 4;

Errc errc_of(int error_number) {
  switch (error_number) {
    case ECONNREFUSED:
      return Errc::kRefused;
    case ETIMEDOUT:
      return Errc::kTimeout;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
      return Errc::kUnavailable;
    case ECONNRESET:
    case EPIPE:
      return Errc::kClosed;
    default:
      return Errc::kIo;
  }
}

Error tcp_error(const SocketAddress& remote, int error_number) {
  return {errc_of(error_number),
          fmt::format("TCP {}: {}", remote.to_string(), std::generic_category().message(error_number))};
}

int pending_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

// A connection that has been asked for: errno, and how much of the data the kernel has.
struct Begun {
  int error = 0;
  std::size_t taken = 0;
};

Begun begin_plain(int fd, const NativeAddress& to) {
  return {::connect(fd, to.get(), to.length) == 0 ? 0 : errno, 0};
}

Begun begin_connection(int fd, const NativeAddress& to, ByteView in_syn) {
  if (in_syn.empty()) return begin_plain(fd, to);
  // Linux 4.15. Without it the kernel would ask the server for a cookie first, and send no data.
  if (!set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)) return begin_plain(fd, to);
  const ssize_t taken = ::sendto(fd, in_syn.data(), in_syn.size(), MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, to.get(),
                                 to.length);
  if (taken >= 0) return {0, static_cast<std::size_t>(taken)};
  // net.ipv4.tcp_fastopen without bit 1.
  if (errno == EOPNOTSUPP) return begin_plain(fd, to);
  return {errno, 0};
}

}  // namespace

struct TcpConnection::Block final : Timer::Listener {
  enum class State : std::uint8_t { kConnecting, kOpen, kClosed };

  Block(Descriptor descriptor, const SocketAddress& peer, State initial)
      : fd(std::move(descriptor)), remote(peer), state(initial) {}

  Descriptor fd;
  SocketAddress remote;
  State state;
  TcpConnection* owner = nullptr;  // null once the TcpConnection is gone
  TcpConnection::Listener* listener = nullptr;
  std::unique_ptr<Timer> connect_timer;
  // What a call found out and on_closed will say, from the loop.
  int failure = 0;
  WriteQueue queue;
  bool paused = false;
  std::size_t read_limit = kMaxRead;
  bool eof = false;
  bool shutdown_wanted = false;
  bool shutdown_done = false;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  int watched = 0;
  uv_poll_t handle{};

  [[nodiscard]] bool alive() const { return owner != nullptr && state != State::kClosed; }
  [[nodiscard]] bool reads() const { return state == State::kOpen && listener != nullptr && !paused && !eof; }

  void watch();
  void finish_connect(Instant now);
  void handle_readable(Instant now);
  void handle_writable(Instant now);
  // False when the connection has failed or was destroyed meanwhile.
  bool read_once(Instant now, MutableBytes buffer);
  void drain();
  void end_our_half();
  void fail_with(int error_number, Instant now);
  // Why the socket is in error.
  [[nodiscard]] int take_error() const {
    const int error = pending_error(fd.get());
    return error != 0 ? error : ECONNRESET;
  }
  void on_timer(Instant now) override { fail_with(failure != 0 ? failure : ETIMEDOUT, now); }

  static void on_poll(uv_poll_t* poll, int status, int events) noexcept;
  static void on_close(uv_handle_t* closed) noexcept { delete static_cast<Block*>(closed->data); }
};

void TcpConnection::Block::watch() {
  int events = reads() ? UV_READABLE : 0;
  if (state == State::kConnecting || failure != 0 || !queue.empty()) events |= UV_WRITABLE;
  if (state == State::kClosed) events = 0;
  // Each change costs libuv two system calls.
  if (events == watched) return;
  watched = events;
  if (events == 0) {
    uv_poll_stop(&handle);
  } else {
    uv_poll_start(&handle, events, on_poll);
  }
}

void TcpConnection::Block::on_poll(uv_poll_t* poll, int status, int events) noexcept {
  auto* block = static_cast<Block*>(poll->data);
  if (!block->alive()) return;
  if (status < 0) block->watched = 0;  // libuv has stopped watching
  const Instant at = now();
  if (block->failure != 0) return block->fail_with(block->failure, at);
  if (block->state == State::kConnecting) return block->finish_connect(at);
  // An error (status < 0) shows in the next read, after what came before it.
  if (status < 0 || (events & UV_READABLE) != 0) block->handle_readable(at);
  if (block->alive() && (events & UV_WRITABLE) != 0) block->handle_writable(at);
  if (!block->alive()) return;
  // Nothing is read, so no read will tell, and watching on would only spin.
  if (status < 0 && !block->reads()) return block->fail_with(block->take_error(), at);
  block->watch();
}

void TcpConnection::Block::finish_connect(Instant now) {
  if (const int error = pending_error(fd.get()); error != 0) return fail_with(error, now);
  connect_timer.reset();
  state = State::kOpen;
  drain();
  watch();
  listener->on_connected(now);
}

bool TcpConnection::Block::read_once(Instant now, MutableBytes buffer) {
  const ssize_t length = ::recv(fd.get(), buffer.data(), std::min(buffer.size(), read_limit), MSG_DONTWAIT);
  if (length > 0) {
    received += static_cast<std::uint64_t>(length);
    listener->on_bytes(now, buffer.first(static_cast<std::size_t>(length)));
    return alive();
  }
  if (length < 0) {
    if (errno != EAGAIN && errno != EINTR) fail_with(errno, now);
    return false;
  }
  eof = true;
  watch();
  listener->on_eof(now);
  return false;
}

void TcpConnection::Block::handle_readable(Instant now) {
  std::array<std::uint8_t, kMaxRead> buffer;
  for (int i = 0; i < kReadsPerTurn && reads(); ++i) {
    if (!read_once(now, buffer)) return;
  }
}

void TcpConnection::Block::drain() {
  while (!queue.empty() && failure == 0) {
    const ByteView front = queue.front();
    const ssize_t taken = ::send(fd.get(), front.data(), front.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0) {
      if (errno != EAGAIN && errno != EINTR) failure = errno;
      break;
    }
    sent += static_cast<std::uint64_t>(taken);
    queue.pop(static_cast<std::size_t>(taken));
  }
  end_our_half();
}

void TcpConnection::Block::end_our_half() {
  if (!shutdown_wanted || shutdown_done || state != State::kOpen || !queue.empty()) return;
  shutdown_done = true;
  ::shutdown(fd.get(), SHUT_WR);
}

void TcpConnection::Block::handle_writable(Instant now) {
  if (queue.empty()) return;
  drain();
  if (failure != 0) return fail_with(failure, now);
  if (queue.empty()) listener->on_drained(now);
}

// The descriptor stays until the owner goes: libuv still knows its number.
void TcpConnection::Block::fail_with(int error_number, Instant now) {
  state = State::kClosed;
  connect_timer.reset();
  queue.clear();
  watch();
  if (listener != nullptr) listener->on_closed(now, tcp_error(remote, error_number));
}

Result<std::unique_ptr<TcpConnection>> TcpConnection::connect(uv_loop_s& loop, const ConnectOptions& options,
                                                              Listener& listener) {
  const int family = options.to.ip.is_v4() ? AF_INET : AF_INET6;
  Descriptor fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return io_error("socket", errno);
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (!options.from.is_unspecified()) {
    set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    const auto from = to_native({options.from, 0}, family);
    if (!from || ::bind(fd.get(), from->get(), from->length) != 0) {
      return tl::unexpected(tcp_error({options.from, 0}, from ? errno : EADDRNOTAVAIL));
    }
  }
  const auto to = to_native(options.to, family);
  const Begun begun = begin_connection(fd.get(), *to, options.in_syn);
  // Refused at once happens on loopback; it is told the same way as later refusals.
  const bool later = begun.error == 0 || begun.error == EINPROGRESS || begun.error == ECONNREFUSED;
  if (!later) return tl::unexpected(tcp_error(options.to, begun.error));
  auto block = std::make_unique<Block>(std::move(fd), options.to, Block::State::kConnecting);
  if (begun.error == ECONNREFUSED) block->failure = begun.error;
  block->listener = &listener;
  block->sent = begun.taken;
  if (begun.taken < options.in_syn.size()) block->queue.push(options.in_syn.subspan(begun.taken));
  block->connect_timer = std::make_unique<Timer>(loop, *block);
  const Instant at = now();
  block->connect_timer->arm(begun.error == ECONNREFUSED ? at : at + options.timeout);
  return start(loop, std::move(block));
}

Result<std::unique_ptr<TcpConnection>> TcpConnection::adopt(uv_loop_s& loop, int descriptor,
                                                            const SocketAddress& remote) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  return start(loop, std::make_unique<Block>(Descriptor(descriptor), remote, Block::State::kOpen));
}

Result<std::unique_ptr<TcpConnection>> TcpConnection::start(uv_loop_s& loop, std::unique_ptr<Block> block) {
  if (const int error = uv_poll_init(&loop, &block->handle, block->fd.get()); error != 0) {
    return io_error("uv_poll_init", -error);
  }
  block->handle.data = block.get();
  auto connection = std::unique_ptr<TcpConnection>(new TcpConnection(block.release()));
  connection->block_->owner = connection.get();
  connection->block_->watch();
  return connection;
}

TcpConnection::TcpConnection(Block* block) : block_(block) {}

TcpConnection::~TcpConnection() { close_block(); }

void TcpConnection::close_block() {
  if (block_ == nullptr) return;
  block_->owner = nullptr;
  block_->listener = nullptr;
  block_->connect_timer.reset();
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle), Block::on_close);
  block_->fd.reset();  // allowed after uv_close
  block_ = nullptr;
}

void TcpConnection::set_listener(Listener& listener) {
  if (block_ == nullptr) return;
  block_->listener = &listener;
  block_->watch();
}

void TcpConnection::write(ByteView bytes) {
  if (block_ == nullptr || !block_->alive() || block_->shutdown_wanted || block_->failure != 0 || bytes.empty()) return;
  std::size_t done = 0;
  if (block_->state == Block::State::kOpen && block_->queue.empty()) {
    const ssize_t taken = ::send(block_->fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN && errno != EINTR) block_->failure = errno;
    if (taken > 0) done = static_cast<std::size_t>(taken);
    block_->sent += done;
  }
  if (done == bytes.size()) return;
  if (block_->failure == 0) block_->queue.push(bytes.subspan(done));
  block_->watch();
}

std::size_t TcpConnection::write_queue_bytes() const { return block_ == nullptr ? 0 : block_->queue.size(); }

void TcpConnection::pause_reading() {
  if (block_ == nullptr) return;
  block_->paused = true;
  block_->watch();
}

void TcpConnection::resume_reading() {
  if (block_ == nullptr) return;
  block_->paused = false;
  block_->watch();
}

void TcpConnection::limit_reads(std::size_t octets) {
  if (block_ != nullptr) block_->read_limit = octets;
}

void TcpConnection::shutdown() {
  if (block_ == nullptr) return;
  block_->shutdown_wanted = true;
  block_->end_our_half();
}

void TcpConnection::abort() {
  if (block_ == nullptr) return;
  const linger at_once{1, 0};
  ::setsockopt(block_->fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close_block();
}

SocketAddress TcpConnection::local_address() const {
  return block_ == nullptr ? SocketAddress{} : bound_address(block_->fd.get());
}
SocketAddress TcpConnection::remote_address() const { return block_ == nullptr ? SocketAddress{} : block_->remote; }
std::uint64_t TcpConnection::bytes_received() const { return block_ == nullptr ? 0 : block_->received; }
std::uint64_t TcpConnection::bytes_sent() const { return block_ == nullptr ? 0 : block_->sent; }

std::optional<Duration> TcpConnection::smoothed_rtt() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (block_ == nullptr || ::getsockopt(block_->fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return info.tcpi_rtt == 0 ? std::nullopt : std::optional<Duration>(std::chrono::microseconds(info.tcpi_rtt));
}

int TcpConnection::descriptor() const { return block_ == nullptr ? -1 : block_->fd.get(); }

int TcpConnection::release_descriptor() {
  if (block_ == nullptr || !block_->queue.empty()) return -1;
  // libuv forgets the descriptor first, as long as the number is still ours.
  uv_poll_stop(&block_->handle);
  const int fd = ::fcntl(block_->fd.get(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) {
    abort();
  } else {
    close_block();
  }
  return fd;
}

}  // namespace natt::uv
