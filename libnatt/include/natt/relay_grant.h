// SPDX-License-Identifier: Apache-2.0
#pragma once

// Permission to use a relay: the broker seals who may be at a leg's end, of which
// session and until when under a key of its own, and hands the sealed grant and the
// leg's MAC key to that end over signaling. The end presents the grant when it
// binds, so the broker keeps nothing until then and loses nothing when it restarts.
//
// A grant is bound to its two identities: the leg keys are derived from the session
// and both names, so asking for a grant to somebody else's session id gives a
// different session. Value types; GrantSealer holds key material.

#include <array>
#include <optional>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/random.h>
#include <natt/relay_wire.h>
#include <natt/secret.h>
#include <natt/time.h>

namespace natt {

using RelaySessionId = std::array<std::uint8_t, 16>;

// "Grants live at most 5 minutes without renewal" (DESIGN section 8).
inline constexpr std::chrono::milliseconds kRelayGrantLifetime = std::chrono::minutes(5);

// What a sealed grant says. Both identities are of the same site.
struct RelayGrantClaims {
  RelaySessionId session{};
  RelaySide side = RelaySide::kClient;
  Identity client;
  Identity gateway;
  WallTime issued{};
  WallTime expires{};
  friend bool operator==(const RelayGrantClaims&, const RelayGrantClaims&) = default;
};

// What one end gets.
struct RelayGrant {
  RelaySessionId session{};
  ByteBuffer sealed;
  RelayKey key;
  WallTime expires{};
};

struct RelayGrantPair {
  RelayGrant client;
  RelayGrant gateway;
};

class GrantSealer {
 public:
  // `broker_key` is persisted by the broker; a new one ends all sessions at the next restart.
  explicit GrantSealer(const RelayKey& broker_key);

  // Grants for both legs, valid from `wall_now` for kRelayGrantLifetime. A session id renews that session (take it only
  // from the same two authenticated identities); absent draws a new one. Fails with kMalformed when the identities are
  // not a client and a gateway of one site.
  [[nodiscard]] Result<RelayGrantPair> issue(Random& random, const Identity& client, const Identity& gateway,
                                             std::optional<RelaySessionId> session, WallTime wall_now) const;

  // Absent when not sealed by this key or malformed inside. Says nothing about the time.
  [[nodiscard]] std::optional<RelayGrantClaims> open(ByteView sealed) const;

  // The MAC key of the leg that `claims` is about.
  [[nodiscard]] RelayKey leg_key(const RelayGrantClaims& claims) const;

 private:
  [[nodiscard]] RelayGrant seal(Random& random, const RelayGrantClaims& claims) const;

  RelayKey sealing_key_;
  RelayKey leg_master_key_;
};

}  // namespace natt
