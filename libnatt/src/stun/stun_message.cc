// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_message.h>

#include <algorithm>

#include <natt/secret.h>

#include "src/stun/message_digest.h"

namespace natt {
namespace {

constexpr std::size_t kAttributeHeaderSize = 4;
constexpr std::size_t kCookieOffset = 4;
constexpr std::size_t kTransactionIdOffset = 8;

constexpr std::uint16_t type_of(StunAttribute attribute) { return static_cast<std::uint16_t>(attribute); }

// Every attribute lies inside the message and nothing follows FINGERPRINT ("MUST be the last attribute").
bool has_well_formed_attributes(ByteView bytes) {
  std::size_t offset = kStunHeaderSize;
  while (offset < bytes.size()) {
    const std::size_t left = bytes.size() - offset - kAttributeHeaderSize;  // the size is a multiple of 4
    const std::size_t length = load_be<std::uint16_t>(&bytes[offset + 2]);
    const std::size_t padded = (length + 3) & ~std::size_t{3};
    if (padded > left) return false;
    const bool last = padded == left;
    if (load_be<std::uint16_t>(&bytes[offset]) == type_of(StunAttribute::kFingerprint) && !last) return false;
    offset += kAttributeHeaderSize + padded;
  }
  return true;
}

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |0 0 0 0 0 0 0 0|    Family     |           Port                |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                 Address (32 bits or 128 bits)                 |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
std::optional<SocketAddress> read_address(ByteView value, std::span<const std::uint8_t, 16> mask) {
  if (value.size() != 8 && value.size() != 20) return std::nullopt;
  const std::uint8_t family = value.size() == 8 ? 1 : 2;
  if (value[1] != family) return std::nullopt;
  std::array<std::uint8_t, 16> ip{};
  for (std::size_t i = 4; i < value.size(); ++i) ip[i - 4] = value[i] ^ mask[i - 4];
  const auto port_mask = load_be<std::uint16_t>(mask.data());
  const auto port = static_cast<std::uint16_t>(load_be<std::uint16_t>(&value[2]) ^ port_mask);
  if (family == 1) return SocketAddress{IpAddress::v4({ip[0], ip[1], ip[2], ip[3]}), port};
  return SocketAddress{IpAddress::v6(ip), port};
}

bool is_known_required(std::uint16_t type) {
  using enum StunAttribute;
  static constexpr std::array kKnown = {kMappedAddress,
                                        kChangeRequest,
                                        kUsername,
                                        kMessageIntegrity,
                                        kErrorCode,
                                        kRealm,
                                        kNonce,
                                        kMessageIntegritySha256,
                                        kUnknownAttributes,
                                        kPasswordAlgorithm,
                                        kUserhash,
                                        kXorMappedAddress,
                                        kPriority,
                                        kUseCandidate};
  return std::find(kKnown.begin(), kKnown.end(), static_cast<StunAttribute>(type)) != kKnown.end();
}

}  // namespace

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |0 0|     STUN Message Type     |         Message Length        |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                         Magic Cookie                          |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                     Transaction ID (96 bits)                  |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
bool StunMessage::is_stun(ByteView datagram) {
  return datagram.size() >= kStunHeaderSize && (datagram[0] & 0xC0) == 0 &&
         load_be<std::uint32_t>(&datagram[kCookieOffset]) == kStunMagicCookie;
}

std::optional<StunMessage> StunMessage::parse(ByteView datagram) {
  if (!is_stun(datagram) || datagram.size() > kStunMaxMessageSize || datagram.size() % 4 != 0) return std::nullopt;
  if (load_be<std::uint16_t>(&datagram[2]) != datagram.size() - kStunHeaderSize) return std::nullopt;
  if (!has_well_formed_attributes(datagram)) return std::nullopt;
  return StunMessage(datagram);
}

// RFC 8489 figure 3: the class bits C1 and C0 stand between the bits of the method.
StunClass StunMessage::message_class() const {
  return static_cast<StunClass>(((bytes_[0] & 0x01) << 1) | ((bytes_[1] & 0x10) >> 4));
}

std::uint16_t StunMessage::method() const {
  const auto type = load_be<std::uint16_t>(bytes_.data());
  return static_cast<std::uint16_t>((type & 0x000F) | ((type & 0x00E0) >> 1) | ((type & 0x3E00) >> 2));
}

StunTransactionId StunMessage::transaction_id() const {
  StunTransactionId id;
  std::copy_n(bytes_.begin() + kTransactionIdOffset, id.bytes.size(), id.bytes.begin());
  return id;
}

StunAttributeIterator StunMessage::begin() const { return {bytes_, kStunHeaderSize}; }

std::optional<StunAttributeView> StunMessage::find(StunAttribute type) const {
  for (const StunAttributeView& attribute : *this) {
    if (attribute.type == type_of(type)) return attribute;
  }
  return std::nullopt;
}

std::optional<SocketAddress> StunMessage::xor_mapped_address() const {
  const auto attribute = find(StunAttribute::kXorMappedAddress);
  if (!attribute) return std::nullopt;
  // "concatenation of the magic cookie and the 96-bit transaction ID" (RFC 8489 section 14.2)
  return read_address(attribute->value, bytes_.subspan(kCookieOffset).first<16>());
}

std::optional<SocketAddress> StunMessage::mapped_address() const { return address(StunAttribute::kMappedAddress); }

std::optional<SocketAddress> StunMessage::address(StunAttribute type) const {
  static constexpr std::array<std::uint8_t, 16> kNoMask{};
  const auto attribute = find(type);
  if (!attribute) return std::nullopt;
  return read_address(attribute->value, kNoMask);
}

std::optional<std::string_view> StunMessage::text(StunAttribute type) const {
  const auto attribute = find(type);
  if (!attribute) return std::nullopt;
  return as_text(attribute->value);
}

std::optional<std::uint32_t> StunMessage::number32(StunAttribute type) const {
  const auto attribute = find(type);
  if (!attribute || attribute->value.size() != sizeof(std::uint32_t)) return std::nullopt;
  return load_be<std::uint32_t>(attribute->value.data());
}

std::optional<std::uint64_t> StunMessage::number64(StunAttribute type) const {
  const auto attribute = find(type);
  if (!attribute || attribute->value.size() != sizeof(std::uint64_t)) return std::nullopt;
  return load_be<std::uint64_t>(attribute->value.data());
}

std::optional<StunErrorCode> StunMessage::error_code() const {
  const auto attribute = find(StunAttribute::kErrorCode);
  if (!attribute || attribute->value.size() < 4) return std::nullopt;
  const unsigned hundreds = attribute->value[2] & 0x07U;
  const unsigned rest = attribute->value[3];
  if (hundreds < 3 || hundreds > 6 || rest > 99) return std::nullopt;
  return StunErrorCode{static_cast<std::uint16_t>(hundreds * 100 + rest), as_text(attribute->value.subspan(4))};
}

std::size_t StunMessage::unknown_required(std::span<std::uint16_t> out) const {
  std::size_t count = 0;
  for (const StunAttributeView& attribute : *this) {
    if (attribute.type >= 0x8000 || is_known_required(attribute.type)) continue;
    const auto listed = out.first(count);
    if (std::find(listed.begin(), listed.end(), attribute.type) != listed.end()) continue;
    if (count == out.size()) break;
    out[count++] = attribute.type;
  }
  return count;
}

bool StunMessage::has_valid_fingerprint() const {
  const auto attribute = find(StunAttribute::kFingerprint);
  if (!attribute || attribute->value.size() != sizeof(std::uint32_t)) return false;
  return load_be<std::uint32_t>(attribute->value.data()) == stun_fingerprint(bytes_.first(attribute->offset));
}

bool StunMessage::has_valid_integrity_sha256(ByteView key) const {
  const auto attribute = find(StunAttribute::kMessageIntegritySha256);
  if (!attribute || attribute->value.size() != kSha256Size) return false;
  return constant_time_equal(attribute->value, stun_hmac_sha256(key, bytes_.first(attribute->offset)));
}

bool StunMessage::has_valid_integrity_sha1(ByteView key) const {
  const auto attribute = find(StunAttribute::kMessageIntegrity);
  if (!attribute || attribute->value.size() != kSha1Size) return false;
  return constant_time_equal(attribute->value, stun_hmac_sha1(key, bytes_.first(attribute->offset)));
}

}  // namespace natt

std::size_t std::hash<natt::StunTransactionId>::operator()(const natt::StunTransactionId& id) const noexcept {
  // The ids that are stored are our own and random.
  return static_cast<std::size_t>(natt::load_be<std::uint64_t>(id.bytes.data()));
}
