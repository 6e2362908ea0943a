// SPDX-License-Identifier: Apache-2.0
#include "src/relay/relay_mac.h"

#include <openssl/digest.h>
#include <openssl/hmac.h>

#include <cstdlib>

namespace natt::relay {

std::array<std::uint8_t, 32> mac(const RelayKey& key, std::initializer_list<ByteView> parts) {
  std::array<std::uint8_t, 32> out{};
  unsigned size = 0;
  bssl::ScopedHMAC_CTX context;
  bool ok = HMAC_Init_ex(context.get(), key.data(), RelayKey::kSize, EVP_sha256(), nullptr) == 1;
  for (const ByteView part : parts) ok = ok && HMAC_Update(context.get(), part.data(), part.size()) == 1;
  ok = ok && HMAC_Final(context.get(), out.data(), &size) == 1;
  // Fails only without memory; a MAC of zeros must never leave.
  if (!ok || size != out.size()) std::abort();
  return out;
}

RelayKey derive_key(const RelayKey& key, std::initializer_list<ByteView> label) {
  auto bytes = mac(key, label);
  RelayKey derived{std::span<const std::uint8_t, 32>(bytes)};
  secure_zero(bytes);
  return derived;
}

}  // namespace natt::relay
