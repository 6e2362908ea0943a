// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_builder.h>

#include <algorithm>

#include "src/stun/message_digest.h"

namespace natt {
namespace {

constexpr std::size_t kAttributeHeaderSize = 4;
constexpr std::size_t kFingerprintSize = 4;
constexpr std::size_t padded(std::size_t length) { return (length + 3) & ~std::size_t{3}; }

// RFC 8489 figure 3: the class bits C1 and C0 stand between the bits of the method.
std::uint16_t message_type(StunClass message_class, std::uint16_t method) {
  const auto bits = static_cast<unsigned>(message_class);
  const unsigned spread = (method & 0x000FU) | ((method & 0x0070U) << 1) | ((method & 0x0F80U) << 2);
  return static_cast<std::uint16_t>(spread | ((bits & 1U) << 4) | ((bits & 2U) << 7));
}

}  // namespace

StunBuilder::StunBuilder(MutableBytes out, StunClass message_class, std::uint16_t method, const StunTransactionId& id)
    : out_(out) {
  if (out_.size() < kStunHeaderSize) {
    overflow_ = true;
    return;
  }
  store_be(&out_[0], message_type(message_class, method));
  store_be(&out_[4], kStunMagicCookie);
  std::copy(id.bytes.begin(), id.bytes.end(), out_.begin() + 8);
  set_length(kStunHeaderSize);
}

void StunBuilder::set_length(std::size_t size) {
  size_ = size;
  store_be(&out_[2], static_cast<std::uint16_t>(size - kStunHeaderSize));
}

MutableBytes StunBuilder::open(StunAttribute type, std::size_t length) {
  const std::size_t room = std::min(out_.size(), kStunMaxMessageSize) - std::min(size_, out_.size());
  if (overflow_ || length > room || kAttributeHeaderSize + padded(length) > room) {
    overflow_ = true;
    return {};
  }
  const MutableBytes attribute = out_.subspan(size_, kAttributeHeaderSize + padded(length));
  std::fill(attribute.begin(), attribute.end(), std::uint8_t{0});
  store_be(&attribute[0], static_cast<std::uint16_t>(type));
  store_be(&attribute[2], static_cast<std::uint16_t>(length));
  set_length(size_ + attribute.size());
  return attribute.subspan(kAttributeHeaderSize, length);
}

void StunBuilder::add_bytes(StunAttribute type, ByteView value) {
  const MutableBytes room = open(type, value.size());
  if (!overflow_) std::copy(value.begin(), value.end(), room.begin());
}

void StunBuilder::add_number32(StunAttribute type, std::uint32_t value) {
  const MutableBytes room = open(type, sizeof value);
  if (!room.empty()) store_be(room.data(), value);
}

void StunBuilder::add_number64(StunAttribute type, std::uint64_t value) {
  const MutableBytes room = open(type, sizeof value);
  if (!room.empty()) store_be(room.data(), value);
}

void StunBuilder::store_address(MutableBytes value, const SocketAddress& address, bool xored) {
  value[1] = address.ip.is_v4() ? 1 : 2;
  store_be(&value[2], address.port);
  const ByteView ip = ByteView(address.ip.octets()).last(value.size() - 4);
  std::copy(ip.begin(), ip.end(), value.begin() + 4);
  if (!xored) return;
  // "concatenation of the magic cookie and the 96-bit transaction ID" (RFC 8489 section 14.2)
  const ByteView mask = ByteView(out_).subspan(4, 16);
  for (std::size_t i = 4; i < value.size(); ++i) value[i] ^= mask[i - 4];
  value[2] ^= mask[0];
  value[3] ^= mask[1];
}

void StunBuilder::add_xor_mapped_address(const SocketAddress& address) {
  const MutableBytes room = open(StunAttribute::kXorMappedAddress, address.ip.is_v4() ? 8 : 20);
  if (!room.empty()) store_address(room, address, true);
}

void StunBuilder::add_address(StunAttribute type, const SocketAddress& address) {
  const MutableBytes room = open(type, address.ip.is_v4() ? 8 : 20);
  if (!room.empty()) store_address(room, address, false);
}

void StunBuilder::add_error_code(std::uint16_t code, std::string_view reason) {
  const MutableBytes room = open(StunAttribute::kErrorCode, 4 + reason.size());
  if (room.empty()) return;
  room[2] = static_cast<std::uint8_t>(code / 100);
  room[3] = static_cast<std::uint8_t>(code % 100);
  std::copy(reason.begin(), reason.end(), room.begin() + 4);
}

void StunBuilder::add_unknown_attributes(std::span<const std::uint16_t> types) {
  const MutableBytes room = open(StunAttribute::kUnknownAttributes, 2 * types.size());
  for (std::size_t i = 0; 2 * i < room.size(); ++i) store_be(&room[2 * i], types[i]);
}

void StunBuilder::add_fill(std::size_t size) {
  constexpr std::size_t kRest = 2 * kAttributeHeaderSize + kSha256Size + kFingerprintSize;
  const std::size_t without = size_ + kRest;
  if (without >= size) return;
  const std::size_t missing = padded(size - without);
  static_cast<void>(open(StunAttribute::kNattFill, missing - kAttributeHeaderSize));
}

void StunBuilder::add_integrity_sha256(ByteView key) {
  const ByteView covered = out_.first(std::min(size_, out_.size()));
  const MutableBytes room = open(StunAttribute::kMessageIntegritySha256, kSha256Size);
  if (room.empty()) return;
  const auto value = stun_hmac_sha256(key, covered);
  std::copy(value.begin(), value.end(), room.begin());
}

void StunBuilder::add_integrity_sha1(ByteView key) {
  const ByteView covered = out_.first(std::min(size_, out_.size()));
  const MutableBytes room = open(StunAttribute::kMessageIntegrity, kSha1Size);
  if (room.empty()) return;
  const auto value = stun_hmac_sha1(key, covered);
  std::copy(value.begin(), value.end(), room.begin());
}

void StunBuilder::add_fingerprint() {
  const ByteView covered = out_.first(std::min(size_, out_.size()));
  const MutableBytes room = open(StunAttribute::kFingerprint, kFingerprintSize);
  if (!room.empty()) store_be(room.data(), stun_fingerprint(covered));  // the length counts FINGERPRINT by now
}

std::optional<ByteView> StunBuilder::finish() const {
  if (overflow_) return std::nullopt;
  return ByteView(out_.first(size_));
}

}  // namespace natt
