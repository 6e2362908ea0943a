// SPDX-License-Identifier: Apache-2.0
#pragma once

// Signaling messages over one TLS stream: a 4-octet length and a body each (docs/WIRE.md
// section 3.1). Internal to libnatt; resource type; SignalClient and SignalHub own one per
// connection and decide what messages mean.

#include <cstdint>
#include <memory>
#include <optional>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/signal_message.h>
#include <natt/tls_stream.h>

namespace natt {

class MessageChannel {
 public:
  static constexpr std::size_t kLengthSize = 4;

  // `max_send_queue` bounds the ciphertext that was not taken.
  MessageChannel(std::unique_ptr<TlsStream> tls, std::size_t max_send_queue)
      : tls_(std::move(tls)), max_send_queue_(max_send_queue) {}

  void handle_bytes(ByteView ciphertext);
  // The next message, if a whole one is there. Those of unknown kinds are skipped and counted. After an error
  // (too large, malformed) nothing more can be read.
  [[nodiscard]] Result<std::optional<SignalMessage>> next_message();
  // kLimit when the peer does not take what was sent before.
  [[nodiscard]] Result<void> send(const SignalMessage& message);
  void close() { tls_->close(); }

  [[nodiscard]] ByteBuffer take_output() { return tls_->take_ciphertext(); }
  [[nodiscard]] std::size_t pending_output() const { return tls_->pending_ciphertext(); }
  [[nodiscard]] TlsStream::State tls_state() const { return tls_->state(); }
  [[nodiscard]] const std::optional<PeerCertificate>& peer() const { return tls_->peer(); }
  [[nodiscard]] const Error& tls_error() const { return tls_->error(); }
  [[nodiscard]] std::uint64_t ignored() const { return ignored_; }

 private:
  // The body of the next whole message.
  [[nodiscard]] Result<std::optional<ByteBuffer>> next_body();

  std::unique_ptr<TlsStream> tls_;
  std::size_t max_send_queue_;
  // At most one incomplete message and what one handle_bytes() brought.
  ByteBuffer unread_;
  std::size_t read_ = 0;
  std::uint64_t ignored_ = 0;
};

}  // namespace natt
