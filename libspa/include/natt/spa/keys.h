// SPDX-License-Identifier: Apache-2.0
#pragma once

// The keys of SPA (docs/WIRE.md section 1.1). Every device and every verifier has a
// static X25519 key pair; from it, the site's PSK and the two identities both ends
// derive one PairKey per (device, verifier), and from that the keys of each 64 s slot.
// Nothing here is ever sent, and nothing is derived on the packet path except by the
// sender. Values wipe themselves; KeyPair keeps its secret in locked memory.
//
//   auto own = KeyPair::generate(random);
//   auto pair = PairKey::derive(own, verifier_public, DeviceId::of(me), DeviceId::of(broker), psk);
//   auto keys = SlotKeys::derive(*pair, Slot::of(wall_now));

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/secret.h>
#include <natt/spa/device_id.h>
#include <natt/spa/locked_memory.h>
#include <natt/time.h>

namespace natt::spa {

// An X25519 public key (RFC 7748), as the roster carries it.
struct PublicKey {
  std::array<std::uint8_t, 32> bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

// The pre-shared key of a site: keeps stored traffic safe from a quantum computer.
using SitePsk = Secret<32>;
// The mask key M of one verifier: constant, in the roster, hides hints from outsiders only.
using MaskKey = Secret<16>;

class KeyPair {
 public:
  [[nodiscard]] static KeyPair generate(Random& random);
  [[nodiscard]] static KeyPair from_secret(std::span<const std::uint8_t, 32> secret);

  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  // For storing the pair (0600). Lives as long as the pair.
  [[nodiscard]] std::span<const std::uint8_t, 32> secret() const { return secret_.bytes().first<32>(); }
  // False when the secret may reach swap: RLIMIT_MEMLOCK is too small. Report it in health.
  [[nodiscard]] bool locked() const { return secret_.locked(); }

 private:
  KeyPair() : secret_(32) {}

  LockedMemory secret_;
  PublicKey public_key_;
};

// floor(unix seconds / 64).
struct Slot {
  std::uint64_t number = 0;

  // Times before 1970 are slot 0.
  [[nodiscard]] static Slot of(WallTime time);
  [[nodiscard]] Slot plus(std::uint64_t count) const { return {number + count}; }
  friend auto operator<=>(const Slot&, const Slot&) = default;
};
inline constexpr std::chrono::seconds kSlotLength{64};

// K(d, v): what one device and one verifier share. Long-term holders copy it into locked memory.
struct PairKey {
  Secret<32> bytes;

  // Either end passes its own pair and the other's public key; `device` is the knocker and `verifier` the
  // knocked-at at both ends. Nothing when `peer` is a low-order point, whose shared secret everyone knows
  // (RFC 7748 section 6.1).
  [[nodiscard]] static std::optional<PairKey> derive(const KeyPair& own, const PublicKey& peer, const DeviceId& device,
                                                     const DeviceId& verifier, const SitePsk& psk);
};

// The keys of one slot, from one PairKey.
struct SlotKeys {
  Secret<32> aead;                     // A: ChaCha20-Poly1305
  std::array<std::uint8_t, 8> hint{};  // H: finds the device in the verifier's table
  Secret<16> prefilter;                // Q: SipHash key of P
  Secret<32> address;                  // B: BLAKE2b key of the address tag

  [[nodiscard]] static SlotKeys derive(const PairKey& pair, Slot slot);
  // B alone, at half the price: verifiers keep the others for a slot, and B is asked for by few frames.
  [[nodiscard]] static Secret<32> derive_address(const PairKey& pair, Slot slot);
};

}  // namespace natt::spa
