// SPDX-License-Identifier: Apache-2.0
#pragma once

// Writes one STUN message (RFC 8489) into the caller's bytes; allocates nothing.
// Order is the caller's: integrity covers what was added before it, FINGERPRINT is
// last. What does not fit makes the whole message fail: finish() returns nothing.
//
//   std::array<std::uint8_t, 128> out;
//   StunBuilder builder(out, StunClass::kRequest, kStunBinding, id);
//   builder.add_text(StunAttribute::kUsername, "bob:alice");
//   builder.add_integrity_sha256(password);
//   builder.add_fingerprint();
//   if (auto bytes = builder.finish()) send(*bytes);
//
// Lives on the stack of one function; the bytes have to outlive it.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <natt/bytes.h>
#include <natt/stun_message.h>

namespace natt {

class StunBuilder {
 public:
  StunBuilder(MutableBytes out, StunClass message_class, std::uint16_t method, const StunTransactionId& id);
  StunBuilder(const StunBuilder&) = delete;
  StunBuilder& operator=(const StunBuilder&) = delete;

  void add_bytes(StunAttribute type, ByteView value);
  void add_text(StunAttribute type, std::string_view value) { add_bytes(type, as_bytes(value)); }
  void add_flag(StunAttribute type) { add_bytes(type, {}); }
  void add_number32(StunAttribute type, std::uint32_t value);
  void add_number64(StunAttribute type, std::uint64_t value);
  void add_xor_mapped_address(const SocketAddress& address);
  void add_address(StunAttribute type, const SocketAddress& address);  // not XORed
  void add_error_code(std::uint16_t code, std::string_view reason);
  void add_unknown_attributes(std::span<const std::uint16_t> types);
  // Zeros, so that the message will be at least `size` octets long once MESSAGE-INTEGRITY-SHA256
  // and FINGERPRINT follow. Adds nothing to a message that already is.
  void add_fill(std::size_t size);

  void add_integrity_sha256(ByteView key);
  void add_integrity_sha1(ByteView key);
  void add_fingerprint();

  [[nodiscard]] std::size_t size() const { return size_; }
  // The message, a view into the caller's bytes; nothing when something did not fit.
  [[nodiscard]] std::optional<ByteView> finish() const;

 private:
  // Room for the value after the attribute header, or empty when it does not fit.
  [[nodiscard]] MutableBytes open(StunAttribute type, std::size_t length);
  void store_address(MutableBytes value, const SocketAddress& address, bool xored);
  void set_length(std::size_t size);

  MutableBytes out_;
  std::size_t size_ = 0;
  bool overflow_ = false;
};

}  // namespace natt
