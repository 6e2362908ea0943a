// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/uv/stream_bridge.h>

namespace natt::tunnel::uv {

StreamBridge::StreamBridge(Streams& streams, StreamId stream, std::unique_ptr<natt::uv::TcpConnection> connection,
                           Owner& owner, ByteBuffer early)
    : streams_(streams),
      stream_(stream),
      connection_(std::move(connection)),
      owner_(owner),
      backlog_(std::move(early)) {}

StreamBridge::~StreamBridge() {
  // Cut off in the middle (the tunnel died, the program ends): a FIN would say that all has come.
  if (connection_ && !done_) connection_->abort();
}

void StreamBridge::start(Instant now) {
  connection_->set_listener(*this);
  if (!backlog_.empty()) {
    connection_->pause_reading();
    send_backlog(now);
  }
  copy_to_socket(now);
  owner_.on_bridge_progress(now);
}

void StreamBridge::on_connected(Instant) {}

void StreamBridge::on_bytes(Instant now, ByteView bytes) {
  const std::size_t taken = streams_.write(stream_, bytes);
  if (taken < bytes.size()) {
    backlog_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(taken), bytes.end());
    connection_->pause_reading();
  }
  owner_.on_bridge_progress(now);
}

void StreamBridge::send_backlog(Instant now) {
  if (backlog_.empty()) return;
  const std::size_t taken = streams_.write(stream_, backlog_);
  backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(taken));
  if (backlog_.empty() && connection_) connection_->resume_reading();
  owner_.on_bridge_progress(now);
}

void StreamBridge::handle_writable(Instant now) { send_backlog(now); }

void StreamBridge::on_eof(Instant now) {
  // Reading was paused while there was a backlog, so there is none now.
  socket_eof_ = true;
  streams_.shutdown_write(stream_);
  owner_.on_bridge_progress(now);
  finish_if_over(now);
}

void StreamBridge::handle_readable(Instant now) {
  copy_to_socket(now);
  owner_.on_bridge_progress(now);
}

void StreamBridge::on_drained(Instant now) {
  copy_to_socket(now);
  owner_.on_bridge_progress(now);
  finish_if_over(now);
}

void StreamBridge::copy_to_socket(Instant) {
  while (connection_ && connection_->write_queue_bytes() < kSocketQueueLimit) {
    const ByteView bytes = streams_.peek(stream_);
    if (bytes.empty()) return;
    connection_->write(bytes);
    streams_.consume(stream_, bytes.size());
  }
}

void StreamBridge::handle_finished(Instant now) {
  stream_finished_ = true;
  if (connection_) connection_->shutdown();
  finish_if_over(now);
}

void StreamBridge::handle_reset(Instant now) {
  if (connection_) connection_->abort();
  connection_.reset();
  streams_.reset(stream_, kRequestCancelled);
  owner_.on_bridge_progress(now);
}

void StreamBridge::handle_stream_closed(Instant now) {
  stream_closed_ = true;
  finish_if_over(now);
}

void StreamBridge::on_closed(Instant now, const Error&) {
  connection_.reset();
  streams_.reset(stream_, kConnectError);
  owner_.on_bridge_progress(now);
  finish_if_over(now);
}

void StreamBridge::finish_if_over(Instant now) {
  if (done_ || !stream_closed_) return;
  // The stream is dead; what it gave us still has to reach the socket.
  const bool socket_over = !connection_ || connection_->write_queue_bytes() == 0;
  if (!socket_over) return;
  done_ = true;
  owner_.on_bridge_done(now, stream_);
}

}  // namespace natt::tunnel::uv
