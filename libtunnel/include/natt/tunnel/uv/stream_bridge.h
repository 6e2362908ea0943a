// SPDX-License-Identifier: Apache-2.0
#pragma once

// Copies bytes between a TCP connection and a tunnel stream, both ways, with
// back-pressure and half-close: neither side is read faster than the other takes, no
// byte is lost or reordered, and a FIN on one side becomes a FIN on the other.
//
// Resource type on the loop's thread; streams and owner outlive it. The owner routes the
// stream's events here.

#include <memory>

#include <natt/bytes.h>
#include <natt/time.h>
#include <natt/tunnel/streams.h>
#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

class StreamBridge final : private natt::uv::TcpConnection::Listener {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Something was written to or consumed from the stream: poll the tunnel for packets.
    virtual void on_bridge_progress(Instant now) = 0;
    // Both sides are over; the owner may destroy the bridge now. Nothing follows.
    virtual void on_bridge_done(Instant now, StreamId stream) = 0;
  };

  // `connection` is open. `early` came from it before and goes first.
  StreamBridge(Streams& streams, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection, Owner& owner,
               ByteBuffer early = {});
  ~StreamBridge() override;
  StreamBridge(const StreamBridge&) = delete;
  StreamBridge& operator=(const StreamBridge&) = delete;

  // Starts reading; moves what is there already.
  void start(Instant now);
  // The stream's events of the same names.
  void handle_readable(Instant now);
  void handle_writable(Instant now);
  void handle_finished(Instant now);
  void handle_reset(Instant now);
  void handle_stream_closed(Instant now);

  [[nodiscard]] StreamId stream() const { return stream_; }

 private:
  void on_connected(Instant now) override;
  void on_bytes(Instant now, ByteView bytes) override;
  void on_eof(Instant now) override;
  void on_drained(Instant now) override;
  void on_closed(Instant now, const Error& error) override;

  void send_backlog(Instant now);
  void copy_to_socket(Instant now);
  void finish_if_over(Instant now);

  // What the socket may hold unsent before the stream is no longer consumed: a few GSO bursts.
  static constexpr std::size_t kSocketQueueLimit = 256 * 1024;

  Streams& streams_;
  StreamId stream_;
  std::unique_ptr<natt::uv::TcpConnection> connection_;  // null once it is gone
  Owner& owner_;
  ByteBuffer backlog_;  // read from the socket, not yet taken by the stream: at most one read
  bool socket_eof_ = false;       // the socket has finished
  bool stream_finished_ = false;  // the stream has finished, everything consumed
  bool stream_closed_ = false;
  bool done_ = false;
};

}  // namespace natt::tunnel::uv
