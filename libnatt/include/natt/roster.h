// SPDX-License-Identifier: Apache-2.0
#pragma once

// The roster: who belongs to a site, signed by its CA (docs/WIRE.md section 2).
// Numbered, so that nobody can be talked back into an older one; with the time by
// which a newer one is due, so that a device cut off from news can say so.
//
// It comes in two signed views: the full one for brokers and gateways, and the part
// that clients need (brokers and gateways), so that a client learns of no other client.
//
// Value types. A Roster that came out of parse_roster() or sign_roster() is in order:
// devices strictly ascending by identity, no duplicate anywhere.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/secret.h>
#include <natt/time.h>

namespace natt {

enum class RosterView : std::uint8_t { kFull = 1, kClient = 2 };

// A device's static X25519 public key for SPA. Two generations stand side by side
// while a renewal is under way (SPA.md 1.1).
struct SpaPublicKey {
  std::uint16_t generation = 0;
  std::array<std::uint8_t, 32> key{};
  friend auto operator<=>(const SpaPublicKey&, const SpaPublicKey&) = default;
};

struct RosterDevice {
  Identity identity;
  // 1 to kMaxSpaKeys, ascending by generation.
  std::vector<SpaPublicKey> spa_keys;
  // Brokers and gateways: the mask key M of this verifier (SPA.md 1.1). Absent for clients.
  std::optional<Secret<16>> mask_key;
  // Brokers: where UDP and TCP are served. Gateways: the configured tunnel addresses, often
  // none. Clients: none.
  std::vector<SocketAddress> addresses;
  // Brokers: the UDP port of SPA-DNS and of the second STUN answerer; 0 when not served.
  std::uint16_t dns_port = 0;
  friend bool operator==(const RosterDevice&, const RosterDevice&) = default;
};

struct RevokedCertificate {
  CertificateSerial serial;
  Identity identity;  // whose it was: the client view carries those of brokers and gateways only
  friend auto operator<=>(const RevokedCertificate&, const RevokedCertificate&) = default;
};

struct Roster {
  static constexpr std::size_t kMaxDevices = 200'000;
  static constexpr std::size_t kMaxRevoked = 200'000;
  static constexpr std::size_t kMaxSpaKeys = 4;
  static constexpr std::size_t kMaxAddresses = 16;

  std::string site;
  // Grows by at least one with every roster that is signed; the first is 1.
  std::uint64_t number = 0;
  WallTime issued_at;
  // After this the roster is stale: a health warning, then the configured fail mode.
  WallTime next_update;
  std::vector<RosterDevice> devices;
  std::vector<RevokedCertificate> revoked;

  // Null when the site has no such device. Valid until the roster changes.
  [[nodiscard]] const RosterDevice* find(const Identity& identity) const;
  [[nodiscard]] bool is_revoked(const CertificateSerial& serial) const;
  // kRevoked with the sentence for the log when the device is not listed or its certificate revoked.
  [[nodiscard]] Result<void> admits(const Identity& identity, const CertificateSerial& serial) const;
  friend bool operator==(const Roster&, const Roster&) = default;
};

// The signed documents of one roster. Each is a self-contained byte string that any
// holder of the CA certificate can verify.
struct SignedRoster {
  // A document larger than this is refused before it is looked at: 200,000 devices of about 150 octets.
  static constexpr std::size_t kMaxDocumentSize = 32u << 20;

  ByteBuffer full;    // empty in a client's file
  ByteBuffer client;  // empty in a gateway's file

  // One file or one configuration value: `DIR/roster`, [state] dir.
  [[nodiscard]] ByteBuffer serialize() const;
  [[nodiscard]] static Result<SignedRoster> parse(ByteView bytes);
};

// Verifies the signature of one document and reads it. Errors: kMalformed, kUntrusted,
// kWrongIdentity (a roster of another site or the other view).
[[nodiscard]] Result<Roster> parse_roster(ByteView document, RosterView view, const SiteCa& ca);

// Puts devices, keys and revocations in order. kMalformed with the reason when it cannot
// be: a duplicate, a device of another site, a verifier without mask key, a bound exceeded.
[[nodiscard]] Result<void> normalize(Roster& roster);

}  // namespace natt
