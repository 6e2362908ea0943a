// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/tls_hello_carrier.h>

#include "tls_record.h"

namespace natt::spa {
namespace {

// What follows the session id: cipher suites, compression and extensions as BoringSSL sends them, up to the key
// share; no SNI, no ALPN.
constexpr std::uint8_t kBeforeKeyShare[] = {
    0x00, 0x22,                                                                          // 17 cipher suites
    0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30,  //
    0xcc, 0xa9, 0xcc, 0xa8, 0xc0, 0x09, 0xc0, 0x13, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x9c,  //
    0x00, 0x9d, 0x00, 0x2f, 0x00, 0x35,                                                  //
    0x01, 0x00,                                                                          // no compression
    0x00, 0x70,                                                                          // extensions, 112 octets
    0x00, 0x17, 0x00, 0x00,                                                              // extended_master_secret
    0xff, 0x01, 0x00, 0x01, 0x00,                                                        // renegotiation_info
    0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18,              // supported_groups
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00,                                                  // ec_point_formats
    0x00, 0x23, 0x00, 0x00,                                                              // session_ticket
    0x00, 0x0d, 0x00, 0x14, 0x00, 0x12, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01,              // signature_algorithms, 9
    0x05, 0x03, 0x08, 0x05, 0x05, 0x01, 0x08, 0x06, 0x06, 0x01, 0x02, 0x01,              //
    0x00, 0x33, 0x00, 0x26, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20,                          // key_share, X25519
};
constexpr std::size_t kKeyShareSize = 32;
constexpr std::uint8_t kAfterKeyShare[] = {
    0x00, 0x2d, 0x00, 0x02, 0x01, 0x01,                    // psk_key_exchange_modes
    0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03,  // supported_versions
};
constexpr std::size_t kRecordSize =
    tls_record::kSessionIdAt + 32 + sizeof(kBeforeKeyShare) + kKeyShareSize + sizeof(kAfterKeyShare);
// What is before the extensions in kBeforeKeyShare: 2 + 34 of cipher suites, 2 of compression, 2 of length.
static_assert(sizeof(kBeforeKeyShare) - 40 + kKeyShareSize + sizeof(kAfterKeyShare) == 0x70);
static_assert(kRecordSize - tls_record::kHeader <= tls_record::kMaxRecord1Length);

constexpr std::size_t kPairingRecordSize = tls_record::kHeader + kPairingTokenSize;

}  // namespace

ByteBuffer make_tls_hello_record(FrameView frame, Random& random) {
  ByteBuffer record;
  record.reserve(kRecordSize);
  ByteWriter out(record);
  out.write(tls_record::kHandshake);
  out.write(tls_record::kVersion10);
  out.write(static_cast<std::uint16_t>(kRecordSize - tls_record::kHeader));
  // The type octet of client_hello is the top of a 32-bit word whose lower 24 bits are the length.
  out.write(static_cast<std::uint32_t>(0x0100'0000 | (kRecordSize - tls_record::kHeader - 4)));
  out.write(tls_record::kVersion12);
  out.write_bytes(frame.first<32>());
  out.write(std::uint8_t{0x20});
  out.write_bytes(frame.last<32>());
  out.write_bytes(kBeforeKeyShare);
  out.write_bytes(random.bytes<kKeyShareSize>());
  out.write_bytes(kAfterKeyShare);
  return record;
}

ByteBuffer make_pairing_record(const PairingToken& token) {
  ByteBuffer record;
  record.reserve(kPairingRecordSize);
  ByteWriter out(record);
  out.write(tls_record::kApplicationData);
  out.write(tls_record::kVersion12);
  out.write(static_cast<std::uint16_t>(token.size()));
  out.write_bytes(token);
  return record;
}

std::optional<PairingToken> parse_pairing_record(ByteView record) {
  if (record.size() != kPairingRecordSize || record[0] != tls_record::kApplicationData) return std::nullopt;
  if (load_be<std::uint16_t>(record.data() + 1) != tls_record::kVersion12) return std::nullopt;
  if (load_be<std::uint16_t>(record.data() + 3) != kPairingTokenSize) return std::nullopt;
  PairingToken token{};
  std::copy(record.begin() + tls_record::kHeader, record.end(), token.begin());
  return token;
}

}  // namespace natt::spa
