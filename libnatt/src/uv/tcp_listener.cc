// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/tcp_listener.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <uv.h>

#include <cerrno>

#include <natt/uv/timer.h>

#include "src/uv/bound_socket.h"
#include "src/uv/native_address.h"

namespace natt::uv {
namespace {

Descriptor open_reserve() { return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// The waiting connection was at fault, not the listening socket (accept(2), "Error handling").
bool only_this_connection(int error) {
  return error == ECONNABORTED || error == EPROTO || error == EINTR || error == EPERM || error == ENETDOWN ||
         error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN || error == ENONET;
}

// Of a listener, where it would drop what a connection says later, or of a process that had the socket before.
void drop_inherited_filter(int fd) {
  const int unused = 0;
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused));  // ENOENT: there is none
}

}  // namespace

struct TcpListener::Block {
  Block(BoundSocket bound, std::size_t accepts, Listener& to)
      : socket(std::move(bound)), listener(&to), accepts_per_turn(accepts), reserve(open_reserve()) {}

  BoundSocket socket;
  Listener* listener;  // null once the TcpListener is gone
  std::size_t accepts_per_turn;
  // Given up to refuse a connection when the process has no descriptor left; else poll would report it forever.
  Descriptor reserve;
  Stats stats;
  uv_poll_t handle{};

  void accept_some(Instant now);
  // False when there is nothing (more) to accept in this turn.
  bool accept_one(Instant now);
  bool handle_failure(int error);
  void refuse_one();

  static void on_poll(uv_poll_t* poll, int status, int /*events*/) noexcept {
    auto* block = static_cast<Block*>(poll->data);
    if (block->listener == nullptr) return;
    if (status < 0) uv_poll_start(&block->handle, UV_READABLE, on_poll);
    block->accept_some(now());
  }
  static void on_close(uv_handle_t* closed) noexcept { delete static_cast<Block*>(closed->data); }
};

void TcpListener::Block::accept_some(Instant now) {
  for (std::size_t i = 0; i < accepts_per_turn && listener != nullptr; ++i) {
    if (!accept_one(now)) return;
  }
}

bool TcpListener::Block::accept_one(Instant now) {
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const int fd = ::accept4(socket.fd.get(), reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return handle_failure(errno);
  drop_inherited_filter(fd);
  auto connection = TcpConnection::adopt(*handle.loop, fd, from_native(from));
  if (!connection) {
    ++stats.failed;
    return true;
  }
  ++stats.accepted;
  listener->on_connection(now, std::move(*connection));
  return true;
}

bool TcpListener::Block::handle_failure(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return false;
  ++stats.failed;
  if (error == EMFILE || error == ENFILE) refuse_one();
  return only_this_connection(error);
}

void TcpListener::Block::refuse_one() {
  reserve.reset();
  Descriptor refused(::accept4(socket.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  refused.reset();
  reserve = open_reserve();
}

Result<std::unique_ptr<TcpListener>> TcpListener::open(uv_loop_s& loop, const Options& options, Listener& listener) {
  if (options.adopt >= 0) return adopt(loop, options.adopt, options, listener);
  auto bound = open_bound_socket(SOCK_STREAM, options.bind,
                                 options.reuse_port ? PortSharing::kReusePort : PortSharing::kNone);
  if (!bound) return tl::unexpected(bound.error());
  const int fd = bound->fd.get();
  if (options.before_listen) {
    if (auto prepared = options.before_listen(fd); !prepared) return tl::unexpected(prepared.error());
  }
  if (::listen(fd, options.backlog) != 0) return io_error("listen", errno);
  return start(loop, std::make_unique<Block>(std::move(*bound), options.accepts_per_turn, listener));
}

Result<std::unique_ptr<TcpListener>> TcpListener::adopt(uv_loop_s& loop, int descriptor, const Options& options,
                                                        Listener& listener) {
  BoundSocket socket{.fd = Descriptor(descriptor)};
  if (!options.before_listen) {
    drop_inherited_filter(descriptor);
  } else if (auto prepared = options.before_listen(descriptor); !prepared) {
    return tl::unexpected(prepared.error());
  }
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return io_error("fcntl", errno);
  return start(loop, std::make_unique<Block>(std::move(socket), options.accepts_per_turn, listener));
}

Result<std::unique_ptr<TcpListener>> TcpListener::start(uv_loop_s& loop, std::unique_ptr<Block> block) {
  if (const int error = uv_poll_init(&loop, &block->handle, block->socket.fd.get()); error != 0) {
    return io_error("uv_poll_init", -error);
  }
  block->handle.data = block.get();
  uv_poll_start(&block->handle, UV_READABLE, Block::on_poll);
  return std::unique_ptr<TcpListener>(new TcpListener(block.release()));
}

TcpListener::TcpListener(Block* block) : block_(block) {}

TcpListener::~TcpListener() {
  block_->listener = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle), Block::on_close);
  block_->socket.fd.reset();  // the port is free now; allowed after uv_close
}

SocketAddress TcpListener::local_address() const { return bound_address(block_->socket.fd.get()); }
const TcpListener::Stats& TcpListener::stats() const { return block_->stats; }
int TcpListener::descriptor() const { return block_->socket.fd.get(); }

}  // namespace natt::uv
