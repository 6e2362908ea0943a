// SPDX-License-Identifier: Apache-2.0
#pragma once

// STUN messages (RFC 8489) as views of received bytes: nothing is copied, nothing
// is allocated, and a StunMessage exists only for bytes that are well-formed to the
// last octet. All parsing of attributes goes through the one iterator below, so
// "what counts as an attribute" is decided in one place.
//
// Value types; a view is valid as long as the bytes it was parsed from. Pure
// functions, usable from any thread.
//
//   auto message = StunMessage::parse(datagram);
//   if (!message || !message->has_valid_fingerprint()) return;   // not STUN: drop
//   if (!message->has_valid_integrity_sha256(password)) return;  // not ours: drop
//   auto mapped = message->xor_mapped_address();

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>

#include <natt/address.h>
#include <natt/bytes.h>

namespace natt {

inline constexpr std::uint32_t kStunMagicCookie = 0x2112A442;  // RFC 8489 section 5
inline constexpr std::size_t kStunHeaderSize = 20;
// Nothing we speak comes near it; it bounds the work that a stranger's datagram can cause.
inline constexpr std::size_t kStunMaxMessageSize = 548;  // RFC 8489 section 6.1: IPv4 without a known path MTU

enum class StunClass : std::uint8_t { kRequest = 0, kIndication = 1, kSuccess = 2, kError = 3 };

inline constexpr std::uint16_t kStunBinding = 0x001;  // the only method of this project

// RFC 8489 section 18.3, RFC 8445 section 16.1, RFC 5780 section 7. Types below 0x8000 are
// comprehension-required (RFC 8489 section 14).
enum class StunAttribute : std::uint16_t {
  kMappedAddress = 0x0001,
  kChangeRequest = 0x0003,
  kUsername = 0x0006,
  kMessageIntegrity = 0x0008,
  kErrorCode = 0x0009,
  kUnknownAttributes = 0x000A,
  kRealm = 0x0014,
  kNonce = 0x0015,
  kMessageIntegritySha256 = 0x001C,
  kPasswordAlgorithm = 0x001D,
  kUserhash = 0x001E,
  kXorMappedAddress = 0x0020,
  kPriority = 0x0024,
  kUseCandidate = 0x0025,
  kSoftware = 0x8022,
  kFingerprint = 0x8028,
  kIceControlled = 0x8029,
  kIceControlling = 0x802A,
  kResponseOrigin = 0x802B,
  kOtherAddress = 0x802C,
  // Of this project, out of the range for designated experts (0xC000-0xFFFF), see docs/WIRE.md section 4.
  kNattTime = 0xC7A0,  // 8 octets: unix time in milliseconds, covered by MESSAGE-INTEGRITY-SHA256
  kNattFill = 0xC7A1,  // zeros that make a request at least as long as its answer
};

struct StunTransactionId {
  std::array<std::uint8_t, 12> bytes{};
  friend auto operator<=>(const StunTransactionId&, const StunTransactionId&) = default;
};

struct StunErrorCode {
  std::uint16_t code = 0;   // 300-699
  std::string_view reason;  // UTF-8, peer-supplied
};

struct StunAttributeView {
  std::uint16_t type = 0;
  ByteView value;          // without padding
  std::size_t offset = 0;  // of the attribute's header, counted from the start of the message
};

// Walks the attributes in order and stops where RFC 8489 sections 14.5 to 14.7 say that a reader
// ignores what follows: after MESSAGE-INTEGRITY only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT
// count, after MESSAGE-INTEGRITY-SHA256 only FINGERPRINT.
class StunAttributeIterator {
 public:
  using value_type = StunAttributeView;
  using difference_type = std::ptrdiff_t;

  StunAttributeIterator() = default;
  // `message` is well-formed (StunMessage::parse said so).
  StunAttributeIterator(ByteView message, std::size_t offset);

  const StunAttributeView& operator*() const { return current_; }
  const StunAttributeView* operator->() const { return &current_; }
  StunAttributeIterator& operator++();
  StunAttributeIterator operator++(int);
  friend bool operator==(const StunAttributeIterator& a, const StunAttributeIterator& b) {
    return a.position_ == b.position_;
  }

 private:
  void settle(std::size_t offset);
  [[nodiscard]] bool is_ignored(std::uint16_t type) const;

  ByteView message_;
  StunAttributeView current_;
  std::size_t position_ = 0;  // of the attribute shown; 0 past the end
  bool after_integrity_ = false;
  bool after_integrity_sha256_ = false;
};

class StunMessage {
 public:
  // Whether a datagram can be nothing but STUN: two zero bits and the magic cookie
  // (RFC 8489 section 5). Cheap; for demultiplexing.
  [[nodiscard]] static bool is_stun(ByteView datagram);

  // The message, when header, length (exactly the datagram's) and every attribute's bounds are
  // right and nothing follows FINGERPRINT. Says nothing about its authenticity.
  [[nodiscard]] static std::optional<StunMessage> parse(ByteView datagram);

  [[nodiscard]] StunClass message_class() const;
  [[nodiscard]] std::uint16_t method() const;
  [[nodiscard]] StunTransactionId transaction_id() const;
  [[nodiscard]] ByteView bytes() const { return bytes_; }

  [[nodiscard]] StunAttributeIterator begin() const;
  [[nodiscard]] StunAttributeIterator end() const { return {}; }
  // The first attribute of that type (RFC 8489 section 14: "only the first occurrence needs to be
  // processed by a receiver").
  [[nodiscard]] std::optional<StunAttributeView> find(StunAttribute type) const;

  // Absent when missing or of the wrong length.
  [[nodiscard]] std::optional<SocketAddress> xor_mapped_address() const;
  [[nodiscard]] std::optional<SocketAddress> mapped_address() const;
  [[nodiscard]] std::optional<SocketAddress> address(StunAttribute type) const;  // not XORed
  [[nodiscard]] std::optional<std::string_view> text(StunAttribute type) const;
  [[nodiscard]] std::optional<std::uint32_t> number32(StunAttribute type) const;
  [[nodiscard]] std::optional<std::uint64_t> number64(StunAttribute type) const;
  [[nodiscard]] std::optional<StunErrorCode> error_code() const;

  // Writes the comprehension-required types that this project does not know into `out` (each
  // once, as many as fit) and returns how many were written. RFC 8489 section 6.3.
  std::size_t unknown_required(std::span<std::uint16_t> out) const;

  // FINGERPRINT is present, last and right (RFC 8489 section 14.7).
  [[nodiscard]] bool has_valid_fingerprint() const;
  // `key` is the short-term password, or the hash of the long-term credential (section 9.2.2).
  // Constant time in the value. Truncated SHA-256 values are refused: only we make them, and we do not.
  [[nodiscard]] bool has_valid_integrity_sha256(ByteView key) const;
  [[nodiscard]] bool has_valid_integrity_sha1(ByteView key) const;

 private:
  explicit StunMessage(ByteView bytes) : bytes_(bytes) {}
  ByteView bytes_;
};

}  // namespace natt

template <>
struct std::hash<natt::StunTransactionId> {
  std::size_t operator()(const natt::StunTransactionId& id) const noexcept;
};
