// SPDX-License-Identifier: Apache-2.0
#include "src/signal/message_channel.h"

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {

void MessageChannel::handle_bytes(ByteView ciphertext) {
  tls_->handle_bytes(ciphertext);
  unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(read_));
  read_ = 0;
  const ByteBuffer plaintext = tls_->take_plaintext();
  unread_.insert(unread_.end(), plaintext.begin(), plaintext.end());
}

Result<std::optional<ByteBuffer>> MessageChannel::next_body() {
  ByteReader reader(ByteView(unread_).subspan(read_));
  const auto size = reader.read<std::uint32_t>();
  if (!size) return std::optional<ByteBuffer>();
  if (*size > kMaxSignalMessage) {
    return fail(Errc::kMalformed, fmt::format("a message of {} octets is larger than {}", *size, kMaxSignalMessage));
  }
  const auto body = reader.read_bytes(*size);
  if (!body) return std::optional<ByteBuffer>();
  read_ += kLengthSize + *size;
  return std::optional(ByteBuffer(body->begin(), body->end()));
}

Result<std::optional<SignalMessage>> MessageChannel::next_message() {
  while (true) {
    const auto body = next_body();
    if (!body) return tl::unexpected<Error>(body.error());
    if (!*body) return std::optional<SignalMessage>();
    auto message = parse_signal(**body);
    if (!message || *message) return message;
    ++ignored_;
  }
}

Result<void> MessageChannel::send(const SignalMessage& message) {
  const auto body = serialize_signal(message);
  if (!body) return tl::unexpected<Error>(body.error());
  if (pending_output() + kLengthSize + body->size() > max_send_queue_) {
    return fail(Errc::kLimit, "the send queue is full: the peer reads too slowly");
  }
  ByteBuffer framed;
  framed.reserve(kLengthSize + body->size());
  ByteWriter writer(framed);
  writer.write(static_cast<std::uint32_t>(body->size()));
  writer.write_bytes(*body);
  tls_->write(framed);
  return {};
}

}  // namespace natt
