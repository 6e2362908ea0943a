// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/keys.h>

#include <natt/blake2b.h>

#include <sodium.h>

namespace natt::spa {

KeyPair KeyPair::generate(Random& random) {
  Secret<32> secret;
  random.fill(secret.mutable_view());
  return from_secret(secret.view());
}

KeyPair KeyPair::from_secret(std::span<const std::uint8_t, 32> secret) {
  KeyPair pair;
  std::copy(secret.begin(), secret.end(), pair.secret_.bytes().begin());
  crypto_scalarmult_base(pair.public_key_.bytes.data(), secret.data());
  return pair;
}

Slot Slot::of(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  return {seconds < 0 ? 0 : static_cast<std::uint64_t>(seconds) / static_cast<std::uint64_t>(kSlotLength.count())};
}

std::optional<PairKey> PairKey::derive(const KeyPair& own, const PublicKey& peer, const DeviceId& device,
                                       const DeviceId& verifier, const SitePsk& psk) {
  Secret<32> shared;
  if (crypto_scalarmult(shared.data(), own.secret().data(), peer.bytes.data()) != 0) return std::nullopt;
  auto key = blake2b_keyed<32>(psk.view(), {as_bytes("natt-spa-1"), shared.view(), device.bytes, verifier.bytes});
  PairKey pair{Secret<32>(key)};
  secure_zero(key);
  return pair;
}

// Two calls because 64 octets is the most that BLAKE2b gives: A ‖ B, then H ‖ Q.
SlotKeys SlotKeys::derive(const PairKey& pair, Slot slot) {
  std::array<std::uint8_t, 9> label{};
  store_be(label.data(), slot.number);
  label[8] = 1;
  auto first = blake2b_keyed<64>(pair.bytes.view(), {as_bytes("slot"), label});
  label[8] = 2;
  auto second = blake2b_keyed<64>(pair.bytes.view(), {as_bytes("slot"), label});

  SlotKeys keys;
  keys.aead = Secret<32>(std::span(first).first<32>());
  keys.address = Secret<32>(std::span(first).last<32>());
  std::copy_n(second.begin(), 8, keys.hint.begin());
  keys.prefilter = Secret<16>(std::span(second).subspan<8, 16>());
  secure_zero(first);
  secure_zero(second);
  return keys;
}

}  // namespace natt::spa
