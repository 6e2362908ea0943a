// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/udp_carrier.h>

#include <cstring>

namespace natt::spa {
namespace {

// docs/WIRE.md section 1.4; DTLS 1.2 is RFC 6347 sections 4.1, 4.2.2 and 4.2.1 (cookie).
//
//    0  16 fe fd           handshake record, DTLS 1.2
//    3  0000 000000000000  epoch, sequence number
//   11  len(2)             of what follows
//   13  01 len(3)          client_hello
//   17  0000 000000 len(3) message sequence, fragment offset, fragment length
//   25  fe fd              client version
//   27  frame[0..31]       random
//   59  20                 session id length
//   60  frame[32..63]      session id
//   92  00                 cookie length
//   93  the template
constexpr std::size_t kRecordHeader = 13;
constexpr std::size_t kHandshakeHeader = 12;
constexpr std::size_t kBodyAt = kRecordHeader + kHandshakeHeader;
constexpr std::size_t kRandomAt = 27;
constexpr std::size_t kSessionIdAt = 60;
constexpr std::size_t kTemplateAt = 93;
// A future template may differ, but no ClientHello of this kind is longer.
constexpr std::size_t kMaxDatagram = 512;

constexpr std::array<std::uint8_t, 11> kRecordStart{kUdpKnockFirstOctet, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0};

// Cipher suites, compression and extensions as an OpenSSL 1.1/3 client sends them for DTLS 1.2 by default.
constexpr std::uint8_t kTemplate[] = {
    0x00, 0x38,                                                              // 28 cipher suites
    0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9f, 0xcc, 0xa9, 0xcc, 0xa8, 0xcc, 0xaa,  //
    0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0x9e, 0xc0, 0x24, 0xc0, 0x28, 0x00, 0x6b,  //
    0xc0, 0x23, 0xc0, 0x27, 0x00, 0x67, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x39,  //
    0xc0, 0x09, 0xc0, 0x13, 0x00, 0x33, 0x00, 0x9d, 0x00, 0x9c, 0x00, 0x3d,  //
    0x00, 0x3c, 0x00, 0x35, 0x00, 0x2f, 0x00, 0xff,                          // ends in renegotiation SCSV
    0x01, 0x00,                                                              // no compression
    0x00, 0x58,                                                              // extensions, 88 octets
    0x00, 0x0b, 0x00, 0x04, 0x03, 0x00, 0x01, 0x02,                          // ec_point_formats
    0x00, 0x0a, 0x00, 0x0c, 0x00, 0x0a, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x1e, 0x00, 0x19, 0x00, 0x18,  // supported_groups
    0x00, 0x23, 0x00, 0x00,                                                                          // session_ticket
    0x00, 0x16, 0x00, 0x00,                                                                          // encrypt_then_mac
    0x00, 0x17, 0x00, 0x00,                                                  // extended_master_secret
    0x00, 0x0d, 0x00, 0x30, 0x00, 0x2e,                                      // signature_algorithms, 23
    0x04, 0x03, 0x05, 0x03, 0x06, 0x03, 0x08, 0x07, 0x08, 0x08, 0x08, 0x09,  //
    0x08, 0x0a, 0x08, 0x0b, 0x08, 0x04, 0x08, 0x05, 0x08, 0x06, 0x04, 0x01,  //
    0x05, 0x01, 0x06, 0x01, 0x03, 0x03, 0x02, 0x03, 0x03, 0x01, 0x02, 0x01,  //
    0x03, 0x02, 0x02, 0x02, 0x04, 0x02, 0x05, 0x02, 0x06, 0x02,              //
};
constexpr std::size_t kDatagramSize = kTemplateAt + sizeof(kTemplate);
static_assert(kDatagramSize <= kMaxDatagram);
// 2 + 56 of cipher suites, 2 of compression, 2 of length, then the extensions.
static_assert(sizeof(kTemplate) - 62 == 0x58);

// A 24-bit length.
void store_length(std::uint8_t* at, std::size_t length) {
  at[0] = 0;
  store_be(at + 1, static_cast<std::uint16_t>(length));
}

bool has_length(const std::uint8_t* at, std::size_t length) {
  return at[0] == 0 && load_be<std::uint16_t>(at + 1) == length;
}

// Whether the five octets of message sequence and fragment offset say "the first message, whole".
bool is_first_fragment(const std::uint8_t* at) {
  return std::all_of(at, at + 5, [](auto octet) { return octet == 0; });
}

bool has_shape(ByteView datagram) {
  const std::size_t size = datagram.size();
  if (size <= kTemplateAt || size > kMaxDatagram) return false;
  const std::uint8_t* d = datagram.data();
  return std::memcmp(d, kRecordStart.data(), kRecordStart.size()) == 0 &&
         load_be<std::uint16_t>(d + 11) == size - kRecordHeader && d[13] == 0x01 &&
         has_length(d + 14, size - kBodyAt) && is_first_fragment(d + 17) && has_length(d + 22, size - kBodyAt) &&
         d[25] == 0xfe && d[26] == 0xfd && d[59] == 0x20 && d[92] == 0x00;
}

}  // namespace

ByteBuffer make_udp_carrier(FrameView frame) {
  ByteBuffer datagram(kDatagramSize);
  std::uint8_t* d = datagram.data();
  std::copy(kRecordStart.begin(), kRecordStart.end(), d);
  store_be(d + 11, static_cast<std::uint16_t>(kDatagramSize - kRecordHeader));
  d[13] = 0x01;
  store_length(d + 14, kDatagramSize - kBodyAt);
  store_length(d + 22, kDatagramSize - kBodyAt);
  d[25] = 0xfe;
  d[26] = 0xfd;
  std::copy_n(frame.begin(), 32, d + kRandomAt);
  d[59] = 0x20;
  std::copy_n(frame.begin() + 32, 32, d + kSessionIdAt);
  std::copy(std::begin(kTemplate), std::end(kTemplate), d + kTemplateAt);
  return datagram;
}

std::optional<Frame> parse_udp_carrier(ByteView datagram) {
  if (!has_shape(datagram)) return std::nullopt;
  Frame frame{};
  std::copy_n(datagram.begin() + kRandomAt, 32, frame.begin());
  std::copy_n(datagram.begin() + kSessionIdAt, 32, frame.begin() + 32);
  return frame;
}

}  // namespace natt::spa
