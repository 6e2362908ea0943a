// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_transaction_id.h>

#include <natt/siphash.h>

namespace natt {
namespace {

constexpr std::size_t kNonceSize = 4;

// In the order libsodium writes its octets, so that a kernel filter compares one little-endian number.
void store_le64(std::uint8_t* at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i, value >>= 8) at[i] = static_cast<std::uint8_t>(value & 0xFF);
}

}  // namespace

StunTransactionId make_transaction_id(const StunTransactionKey& key, std::uint32_t nonce) {
  StunTransactionId id;
  store_be(id.bytes.data(), nonce);
  store_le64(&id.bytes[kNonceSize], siphash24(key.view(), ByteView(id.bytes).first(kNonceSize)));
  return id;
}

StunTransactionId make_transaction_id(const StunTransactionKey& key, Random& random) {
  return make_transaction_id(key, static_cast<std::uint32_t>(random.next_u64() & 0xFFFFFFFFU));
}

StunTransactionId make_plain_transaction_id(Random& random) { return {random.bytes<12>()}; }

std::uint32_t transaction_nonce(const StunTransactionId& id) { return load_be<std::uint32_t>(id.bytes.data()); }

bool has_valid_tag(const StunTransactionKey& key, const StunTransactionId& id) {
  return constant_time_equal(make_transaction_id(key, transaction_nonce(id)).bytes, id.bytes);
}

}  // namespace natt
