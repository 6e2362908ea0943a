// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/udp_socket.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <uv.h>

#include <cerrno>

#include "src/uv/bound_socket.h"
#include "src/uv/native_address.h"
#include "src/uv/udp_receiver.h"
#include "src/uv/udp_sender.h"

#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

// FORCE passes the system's limit where we have CAP_NET_ADMIN. Returns what was granted: the kernel doubles the wish
// for its own book-keeping and reports the double.
std::size_t size_buffer(int fd, int forced, int plain, std::size_t wanted) {
  const int value = static_cast<int>(wanted);
  if (!set_option(fd, SOL_SOCKET, forced, value)) set_option(fd, SOL_SOCKET, plain, value);
  int granted = 0;
  socklen_t length = sizeof granted;
  if (::getsockopt(fd, SOL_SOCKET, plain, &granted, &length) != 0) return 0;
  return static_cast<std::size_t>(granted) / 2;
}

// What POLLERR stands for: a pending error, or one in the error queue.
void clear_pending_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  msghdr message{};
  ::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
}

Result<BoundSocket> take_bound_socket(int descriptor) {
  BoundSocket socket{.fd = Descriptor(descriptor)};
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) return io_error("getsockname", errno);
  socket.family = address.ss_family;
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return io_error("fcntl", errno);
  return socket;
}

}  // namespace

struct UdpSocket::Block {
  Block(BoundSocket bound, const Options& options, Listener& to)
      : socket(std::move(bound)),
        listener(&to),
        receive_calls(options.receive_calls_per_turn),
        receiver(options.receive_batch, stats),
        sender(socket.fd.get(), socket.family, options.gso, stats) {}

  BoundSocket socket;
  Listener* listener;  // null once the UdpSocket is gone
  Stats stats;
  std::size_t receive_calls;
  UdpReceiver receiver;
  UdpSender sender;
  bool watching_writable = false;
  uv_poll_t handle{};

  void watch() {
    uv_poll_start(&handle, watching_writable ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
  }

  void handle_readable(Instant now) {
    for (std::size_t call = 0; call < receive_calls; ++call) {
      const std::size_t count = receiver.receive(socket.fd.get());
      for (std::size_t i = 0; i < count; ++i) {
        const auto train = receiver.train(i);
        if (train) listener->on_train(now, *train);
        if (listener == nullptr) return;
      }
      if (count < receiver.batch()) break;
    }
    listener->on_receive_done(now);
  }

  void handle_writable(Instant now) {
    watching_writable = false;
    watch();
    listener->on_writable(now);
  }

  static void on_poll(uv_poll_t* poll, int status, int events) noexcept {
    auto* block = static_cast<Block*>(poll->data);
    if (block->listener == nullptr) return;
    const Instant at = now();
    if (status < 0) {  // libuv reports POLLERR so, and has stopped watching
      ++block->stats.soft_errors;
      clear_pending_error(block->socket.fd.get());
      block->watch();
    }
    if ((events & UV_READABLE) != 0) block->handle_readable(at);
    if (block->listener != nullptr && (events & UV_WRITABLE) != 0) block->handle_writable(at);
  }

  static void on_close(uv_handle_t* handle) noexcept { delete static_cast<Block*>(handle->data); }
};

Result<std::unique_ptr<UdpSocket>> UdpSocket::open(uv_loop_s& loop, const Options& options, Listener& listener) {
  auto bound = options.adopt >= 0
                   ? take_bound_socket(options.adopt)
                   : open_bound_socket(SOCK_DGRAM, options.bind,
                                       options.reuse_port ? PortSharing::kReusePort : PortSharing::kNone);
  if (!bound) return tl::unexpected(bound.error());
  const int fd = bound->fd.get();
  enable_receive_options(fd, bound->family, options.gro);
  auto block = std::make_unique<Block>(std::move(*bound), options, listener);
  block->stats.receive_buffer = size_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer);
  block->stats.send_buffer = size_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer);
  if (const int error = uv_poll_init(&loop, &block->handle, fd); error != 0) return io_error("uv_poll_init", -error);
  block->handle.data = block.get();
  block->watch();
  return std::unique_ptr<UdpSocket>(new UdpSocket(block.release()));
}

UdpSocket::UdpSocket(Block* block) : block_(block) {}

UdpSocket::~UdpSocket() {
  block_->listener = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle), Block::on_close);
  block_->socket.fd.reset();  // the port is free now; allowed after uv_close
}

SendResult UdpSocket::send(const OutgoingTrain& train) {
  const SendResult result = block_->sender.send(train);
  if (result.status == SendStatus::kBlocked && !block_->watching_writable) {
    block_->watching_writable = true;
    block_->watch();
  }
  return result;
}

SocketAddress UdpSocket::local_address() const { return bound_address(block_->socket.fd.get()); }
bool UdpSocket::dual_stack() const { return block_->socket.family == AF_INET6; }
bool UdpSocket::gso_active() const { return block_->sender.gso(); }
const UdpSocket::Stats& UdpSocket::stats() const { return block_->stats; }

UdpSocket::Stats& UdpSocket::Stats::operator+=(const Stats& other) {
  trains_received += other.trains_received;
  datagrams_received += other.datagrams_received;
  bytes_received += other.bytes_received;
  trains_sent += other.trains_sent;
  datagrams_sent += other.datagrams_sent;
  bytes_sent += other.bytes_sent;
  overflowed += other.overflowed;
  blocked += other.blocked;
  too_big += other.too_big;
  send_failed += other.send_failed;
  soft_errors += other.soft_errors;
  gso_fallbacks += other.gso_fallbacks;
  receive_buffer += other.receive_buffer;
  send_buffer += other.send_buffer;
  return *this;
}
int UdpSocket::descriptor() const { return block_->socket.fd.get(); }

}  // namespace natt::uv
