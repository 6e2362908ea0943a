// SPDX-License-Identifier: Apache-2.0
#include "src/stun/message_digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdlib>

#include <natt/stun_message.h>

#include "src/stun/crc32.h"

namespace natt {
namespace {

constexpr std::size_t kAttributeHeaderSize = 4;

// The first four octets with the length field counted up to the end of the checksum's attribute.
std::array<std::uint8_t, 4> adjusted_start(ByteView covered, std::size_t value_size) {
  const std::size_t length = covered.size() - kStunHeaderSize + kAttributeHeaderSize + value_size;
  std::array<std::uint8_t, 4> start{covered[0], covered[1]};
  store_be(&start[2], static_cast<std::uint16_t>(length));
  return start;
}

template <std::size_t Size>
std::array<std::uint8_t, Size> hmac(const EVP_MD* digest, ByteView key, ByteView covered) {
  const auto start = adjusted_start(covered, Size);
  std::array<std::uint8_t, Size> out{};
  HMAC_CTX context;
  HMAC_CTX_init(&context);
  // Fails only when memory for the hash state does: then nothing here can go on.
  if (HMAC_Init_ex(&context, key.data(), key.size(), digest, nullptr) != 1) std::abort();
  HMAC_Update(&context, start.data(), start.size());
  HMAC_Update(&context, covered.data() + start.size(), covered.size() - start.size());
  HMAC_Final(&context, out.data(), nullptr);
  HMAC_CTX_cleanup(&context);
  return out;
}

}  // namespace

std::array<std::uint8_t, kSha1Size> stun_hmac_sha1(ByteView key, ByteView covered) {
  return hmac<kSha1Size>(EVP_sha1(), key, covered);
}

std::array<std::uint8_t, kSha256Size> stun_hmac_sha256(ByteView key, ByteView covered) {
  return hmac<kSha256Size>(EVP_sha256(), key, covered);
}

std::uint32_t stun_fingerprint(ByteView covered) { return crc32(covered) ^ kFingerprintXor; }

}  // namespace natt
