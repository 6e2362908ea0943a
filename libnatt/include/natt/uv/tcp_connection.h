// SPDX-License-Identifier: Apache-2.0
#pragma once

// One TCP connection: a byte stream with back-pressure in both directions and both
// half-closes visible.
//
//      connect() ──on_connected──►  open  ──on_eof──►  peer has finished (we may still write)
//          │                         │ shutdown(): our half ends once the queue is out
//          └──────────── on_closed(error) ◄────────────┘   broken or timed out: the last callback
//
// There is no close(): destroying the object closes the connection (queued bytes
// are lost; wait for on_drained first), abort() makes it a reset.
// Resource type on the embedder's loop and its thread. After the destructor has
// returned no callback runs.

#include <memory>
#include <optional>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/time.h>

struct uv_loop_s;

namespace natt::uv {

class TcpConnection {
 public:
  // Octets per on_bytes, unless limit_reads() says less.
  static constexpr std::size_t kMaxRead = 64 * 1024;

  class Listener {
   public:
    virtual ~Listener() = default;
    // Each of these may call anything on the connection and may destroy it.
    virtual void on_connected(Instant now) = 0;  // not for accepted connections
    // `bytes` is valid during the call.
    virtual void on_bytes(Instant now, ByteView bytes) = 0;
    virtual void on_eof(Instant now) = 0;
    // The write queue has become empty after it was not.
    virtual void on_drained(Instant now) = 0;
    virtual void on_closed(Instant now, const Error& error) = 0;
  };

  struct ConnectOptions {
    SocketAddress to;
    // Unspecified lets the kernel choose.
    IpAddress from;
    // Linux alone would try for two minutes.
    Duration timeout = std::chrono::seconds(10);
    // What the connection begins with, as much of it inside the SYN as fits one packet (RFC 7413 without a cookie:
    // TCP_FASTOPEN_NO_COOKIE), the rest behind it. A server without Fast Open gets all of it after the handshake;
    // a kernel that refuses sends a plain SYN. Needed during the call only.
    ByteView in_syn = {};
  };

  // `loop` and `listener` outlive the connection. Fails at once with kIo or kUnavailable (no route, no descriptors);
  // everything later comes as on_closed: kRefused, kTimeout, kUnavailable or kIo.
  [[nodiscard]] static Result<std::unique_ptr<TcpConnection>> connect(uv_loop_s& loop, const ConnectOptions& options,
                                                                      Listener& listener);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  // An accepted connection reads nothing until it has a listener. May be called again to hand the connection on.
  void set_listener(Listener& listener);

  // Sends what the kernel takes now and queues a copy of the rest. Never calls the listener. The queue has no limit of
  // its own: whoever writes looks at write_queue_bytes() and stops until on_drained. Ignored after shutdown() or a
  // failure (which on_closed reports).
  void write(ByteView bytes);
  [[nodiscard]] std::size_t write_queue_bytes() const;

  // Paused, the kernel's window fills up and the sender stops; on_eof and on_closed wait as well.
  void pause_reading();
  void resume_reading();

  // At most so many octets (1 to kMaxRead) per on_bytes from now on.
  void limit_reads(std::size_t octets);

  // Ends our half after the queue is out. Reading goes on.
  void shutdown();
  // Closes with RST; queued bytes are lost. No callback follows.
  void abort();

  [[nodiscard]] SocketAddress local_address() const;
  [[nodiscard]] SocketAddress remote_address() const;
  [[nodiscard]] std::uint64_t bytes_received() const;
  [[nodiscard]] std::uint64_t bytes_sent() const;
  // What the kernel has measured (tcpi_rtt of TCP_INFO, tcp(7)); absent before it has, and after abort.
  [[nodiscard]] std::optional<Duration> smoothed_rtt() const;
  // -1 after abort. Owned by this object.
  [[nodiscard]] int descriptor() const;
  // Gives the descriptor away (for splicing in the kernel): no callback follows, and this object is an empty shell.
  // Only with an empty write queue, else -1. Also -1 when the process has no descriptor left: as after abort().
  [[nodiscard]] int release_descriptor();

 private:
  friend class TcpListener;
  struct Block;
  explicit TcpConnection(Block* block);
  // Takes the descriptor, also on failure.
  [[nodiscard]] static Result<std::unique_ptr<TcpConnection>> adopt(uv_loop_s& loop, int descriptor,
                                                                    const SocketAddress& remote);
  [[nodiscard]] static Result<std::unique_ptr<TcpConnection>> start(uv_loop_s& loop, std::unique_ptr<Block> block);
  void close_block();
  Block* block_;  // freed by the loop after close; null after abort() and release_descriptor()
};

}  // namespace natt::uv
