// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/dns_carrier.h>

#include "base32hex.h"

namespace natt::spa {
namespace {

// docs/WIRE.md section 1.4.1; RFC 1035 sections 4.1.1 and 4.1.2, RFC 6891 section 6.1.2.
//
//    0  id(2) flags(2)        RD
//    4  0001 0000 0000 0001   one question, one additional record
//   12  1a digits(26)         the frame, 103 digits in four labels
//   39  1a digits(26)
//   66  1a digits(26)
//   93  19 digits(25)
//  119  suffix, root
//       type(2) 0001          A or AAAA, IN
//       00 0029 04d0 00000000 len(2) options
constexpr std::size_t kHeader = 12;
constexpr std::size_t kDigits = (kFrameSize * 8 + 4) / 5;
constexpr std::size_t kLabel = 26;
constexpr std::size_t kLabels = 4;
constexpr std::size_t kSuffixAt = kHeader + kDigits + kLabels;
constexpr std::size_t kQuestionTail = 4;
constexpr std::size_t kOptRecord = 11;
// What fits a message without EDNS0 (RFC 1035 section 4.2.1): forwarders add options, never this many.
constexpr std::size_t kMaxDatagram = 512;

constexpr std::uint16_t kRecursionDesired = 0x0100;
// RD, and AD and CD of RFC 4035 section 3.2, which forwarders set as they like.
constexpr std::uint16_t kFreeFlags = 0x0130;
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeAaaa = 28;
constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kUdpPayload = 1232;  // DNS flag day 2020
constexpr std::array<std::uint8_t, 8> kCounts{0, 1, 0, 0, 0, 0, 0, 1};

static_assert(kDigits == 103 && kDigits % 8 == 7 && kDigits == 3 * kLabel + 25 && kSuffixAt == 119);

constexpr std::size_t label_at(std::size_t label) { return kHeader + label * (kLabel + 1); }
constexpr std::uint8_t label_size(std::size_t label) {
  return static_cast<std::uint8_t>(std::min(kLabel, kDigits - label * kLabel));
}
constexpr std::size_t digit_at(std::size_t digit) { return kHeader + 1 + digit + digit / kLabel; }

void encode_frame(FrameView frame, std::uint8_t* datagram) {
  for (std::size_t label = 0; label < kLabels; ++label) datagram[label_at(label)] = label_size(label);
  for (std::size_t digit = 0; digit < kDigits; ++digit) {
    const std::size_t bit = digit * 5;
    const std::size_t octet = bit / 8;
    // Two octets that the five bits lie in; the last digit's three lowest are past the frame, and zero.
    const unsigned high = unsigned{frame[octet]} << 8;
    const unsigned pair = octet + 1 < kFrameSize ? high | frame[octet + 1] : high;
    datagram[digit_at(digit)] = static_cast<std::uint8_t>(kBase32HexDigits[(pair >> (11 - bit % 8)) & 31]);
  }
}

// False for an octet that is no digit, and when the bits past the frame are not zero: one frame, one spelling.
// Eight digits are five octets; a zero digit completes the last group, whose last octet is all past the frame.
bool decode_frame(const std::uint8_t* datagram, Frame& frame) {
  constexpr std::size_t kGroups = kDigits / 8 + 1;
  std::array<std::uint8_t, kGroups * 8> digits{};
  digits.back() = static_cast<std::uint8_t>(kBase32HexDigits[0]);
  for (std::size_t label = 0; label < kLabels; ++label) {
    std::copy_n(datagram + label_at(label) + 1, label_size(label), digits.begin() + label * kLabel);
  }
  std::array<std::uint8_t, kGroups * 5> octets{};
  std::uint8_t all = 0;
  for (std::size_t group = 0; group < kGroups; ++group) {
    std::uint64_t bits = 0;
    for (std::size_t i = group * 8; i < (group + 1) * 8; ++i) {
      const std::uint8_t value = kBase32HexValues[digits[i]];
      all |= value;
      bits = (bits << 5) | value;
    }
    store_be(&octets[group * 5], static_cast<std::uint8_t>((bits >> 32) & 0xff));
    store_be(&octets[group * 5 + 1], static_cast<std::uint32_t>(bits & 0xffffffff));
  }
  std::copy_n(octets.begin(), kFrameSize, frame.begin());
  return all < 32 && octets[kFrameSize] == 0;
}

bool has_labels(const std::uint8_t* datagram) {
  bool all = true;
  for (std::size_t label = 0; label < kLabels; ++label) all &= datagram[label_at(label)] == label_size(label);
  return all;
}

// Case does not count (RFC 4343); length octets of a suffix are below 'A'.
bool ends_in(const std::uint8_t* at, ByteView suffix) {
  return std::equal(suffix.begin(), suffix.end(), at, [](std::uint8_t expected, std::uint8_t octet) {
    return expected == octet || (octet >= 'A' && octet <= 'Z' && expected == octet - 'A' + 'a');
  });
}

bool has_shape(ByteView datagram, ByteView suffix) {
  const std::size_t opt_at = kSuffixAt + suffix.size() + kQuestionTail;
  const std::size_t size = datagram.size();
  if (size < opt_at + kOptRecord || size > kMaxDatagram) return false;
  const std::uint8_t* d = datagram.data();
  const std::uint8_t* opt = d + opt_at;
  const auto type = load_be<std::uint16_t>(opt - kQuestionTail);
  return (load_be<std::uint16_t>(d + 2) & ~kFreeFlags) == 0 && std::equal(kCounts.begin(), kCounts.end(), d + 4) &&
         has_labels(d) && ends_in(d + kSuffixAt, suffix) && (type == kTypeA || type == kTypeAaaa) &&
         load_be<std::uint16_t>(opt - 2) == kClassIn && opt[0] == 0 && load_be<std::uint16_t>(opt + 1) == kTypeOpt &&
         load_be<std::uint16_t>(opt + 9) == size - opt_at - kOptRecord;
}

}  // namespace

ByteBuffer make_dns_carrier(FrameView frame, const DnsSuffix& suffix, Random& random) {
  const ByteView name = suffix.wire();
  ByteBuffer datagram(kSuffixAt + name.size() + kQuestionTail + kOptRecord);
  const auto drawn = random.bytes<3>();
  std::uint8_t* d = datagram.data();
  std::copy_n(drawn.begin(), 2, d);
  store_be(d + 2, kRecursionDesired);
  std::copy(kCounts.begin(), kCounts.end(), d + 4);
  encode_frame(frame, d);
  std::copy(name.begin(), name.end(), d + kSuffixAt);
  std::uint8_t* tail = d + kSuffixAt + name.size();
  store_be(tail, (drawn[2] & 1) == 0 ? kTypeA : kTypeAaaa);
  store_be(tail + 2, kClassIn);
  store_be(tail + 5, kTypeOpt);
  store_be(tail + 7, kUdpPayload);
  return datagram;
}

std::optional<Frame> parse_dns_carrier(ByteView datagram, const DnsSuffix& suffix) {
  if (!has_shape(datagram, suffix.wire())) return std::nullopt;
  Frame frame{};
  if (!decode_frame(datagram.data(), frame)) return std::nullopt;
  return frame;
}

}  // namespace natt::spa
