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

namespace {

// Two calls because 64 octets is the most that BLAKE2b gives: A ‖ B, then H ‖ Q.
enum class Half : std::uint8_t { kAeadAndAddress = 1, kHintAndPrefilter = 2 };

Secret<64> derive_half(const PairKey& pair, Slot slot, Half half) {
  std::array<std::uint8_t, 9> label{};
  store_be(label.data(), slot.number);
  label[8] = static_cast<std::uint8_t>(half);
  auto octets = blake2b_keyed<64>(pair.bytes.view(), {as_bytes("slot"), label});
  Secret<64> keys{std::span(octets)};
  secure_zero(octets);
  return keys;
}

}  // namespace

SlotKeys SlotKeys::derive(const PairKey& pair, Slot slot) {
  const Secret<64> first = derive_half(pair, slot, Half::kAeadAndAddress);
  const Secret<64> second = derive_half(pair, slot, Half::kHintAndPrefilter);
  SlotKeys keys;
  keys.aead = Secret<32>(first.view().first<32>());
  keys.address = Secret<32>(first.view().last<32>());
  std::copy_n(second.view().begin(), 8, keys.hint.begin());
  keys.prefilter = Secret<16>(second.view().subspan<8, 16>());
  return keys;
}

Secret<32> SlotKeys::derive_address(const PairKey& pair, Slot slot) {
  return Secret<32>(derive_half(pair, slot, Half::kAeadAndAddress).view().last<32>());
}

}  // namespace natt::spa
