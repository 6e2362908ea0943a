// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_message.h>

namespace natt {
namespace {

constexpr std::size_t kAttributeHeaderSize = 4;
constexpr std::size_t padded(std::size_t length) { return (length + 3) & ~std::size_t{3}; }

constexpr auto kIntegrity = static_cast<std::uint16_t>(StunAttribute::kMessageIntegrity);
constexpr auto kIntegritySha256 = static_cast<std::uint16_t>(StunAttribute::kMessageIntegritySha256);
constexpr auto kFingerprintType = static_cast<std::uint16_t>(StunAttribute::kFingerprint);

}  // namespace

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |         Type                  |            Length             |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |            Value (variable), padded to 4 octets            ....
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
StunAttributeIterator::StunAttributeIterator(ByteView message, std::size_t offset) : message_(message) {
  settle(offset);
}

StunAttributeIterator& StunAttributeIterator::operator++() {
  after_integrity_ = after_integrity_ || current_.type == kIntegrity;
  after_integrity_sha256_ = after_integrity_sha256_ || current_.type == kIntegritySha256;
  settle(position_ + kAttributeHeaderSize + padded(current_.value.size()));
  return *this;
}

StunAttributeIterator StunAttributeIterator::operator++(int) {
  StunAttributeIterator before = *this;
  ++*this;
  return before;
}

bool StunAttributeIterator::is_ignored(std::uint16_t type) const {
  if (type == kFingerprintType) return false;
  return after_integrity_sha256_ || (after_integrity_ && type != kIntegritySha256);
}

void StunAttributeIterator::settle(std::size_t offset) {
  while (offset + kAttributeHeaderSize <= message_.size()) {
    const std::uint8_t* header = message_.data() + offset;
    const std::size_t length = load_be<std::uint16_t>(header + 2);
    const std::uint16_t type = load_be<std::uint16_t>(header);
    if (!is_ignored(type)) {
      position_ = offset;
      current_ = {type, message_.subspan(offset + kAttributeHeaderSize, length), offset};
      return;
    }
    offset += kAttributeHeaderSize + padded(length);
  }
  position_ = 0;
  current_ = {};
}

}  // namespace natt
