// SPDX-License-Identifier: Apache-2.0
#pragma once

// A listening TCP socket, dual stack. Running out of descriptors does not spin the
// loop: the waiting connection is refused and counted.
//
// Resource type on the embedder's loop and its thread. After the destructor has
// returned the port is free and no callback runs.

#include <functional>
#include <memory>

#include <natt/address.h>
#include <natt/error.h>
#include <natt/time.h>
#include <natt/uv/tcp_connection.h>

namespace natt::uv {

class TcpListener {
 public:
  struct Options {
    // `::` is both families; an IPv4 address (or 0.0.0.0) only that family. Port 0 lets the kernel choose.
    SocketAddress bind;
    bool reuse_port = false;
    // The kernel caps it at net.core.somaxconn.
    int backlog = 1024;
    // Connections taken per turn of the loop, so that the others get their time.
    std::size_t accepts_per_turn = 32;
    // What open() takes instead of binding, as adopt() does. -1: none.
    int adopt = -1;
    // Called by open() once the socket is bound, before it listens: for a filter, which its connections do not inherit.
    // Without, an adopted socket loses the filter that it had.
    std::function<Result<void>(int socket)> before_listen;
  };

  class Listener {
   public:
    virtual ~Listener() = default;
    // Give it a listener of its own, keep it, or let it go (which closes it). May destroy the TcpListener.
    virtual void on_connection(Instant now, std::unique_ptr<TcpConnection> connection) = 0;
  };

  struct Stats {
    std::uint64_t accepted = 0;
    std::uint64_t failed = 0;  // gone before we took them, or no descriptor left
  };

  // `loop` and `listener` outlive the object. Fails with kIo.
  [[nodiscard]] static Result<std::unique_ptr<TcpListener>> open(uv_loop_s& loop, const Options& options,
                                                                 Listener& listener);
  // Takes a stream socket that listens already: from a service manager, or a UNIX socket whose file has the right
  // mode. `options.bind`, `reuse_port` and `backlog` are not looked at. The descriptor is taken, also on failure.
  [[nodiscard]] static Result<std::unique_ptr<TcpListener>> adopt(uv_loop_s& loop, int descriptor,
                                                                  const Options& options, Listener& listener);
  ~TcpListener();
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  [[nodiscard]] SocketAddress local_address() const;
  [[nodiscard]] const Stats& stats() const;
  // For socket filters. Owned by this object.
  [[nodiscard]] int descriptor() const;

 private:
  struct Block;
  explicit TcpListener(Block* block);
  [[nodiscard]] static Result<std::unique_ptr<TcpListener>> start(uv_loop_s& loop, std::unique_ptr<Block> block);
  Block* block_;  // freed by the loop after close
};

}  // namespace natt::uv
