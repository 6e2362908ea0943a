// SPDX-License-Identifier: Apache-2.0
#pragma once

// The end-to-end part of signaling: a client's offer and a gateway's answer, each signed
// with its certificate key, so that the broker between them can lose them but neither
// make nor change one (docs/WIRE.md section 3). The gateway decides by what it verifies
// here, never by what the broker said.
//
// Sealed form: protobuf {body, certificate, signature}; the signature covers a context
// string and the body's bytes as they are. Value types and pure functions, except
// OfferVerifier, which remembers session ids.

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <natt/bytes.h>
#include <natt/candidate.h>
#include <natt/credentials.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/punch_session.h>
#include <natt/roster.h>
#include <natt/signal_types.h>
#include <natt/stun_transaction_id.h>
#include <natt/time.h>

namespace natt {

// An offer or answer is good for this long around its time, in both directions (the window of an SPA
// frame, SPA.md 1.3).
inline constexpr std::chrono::seconds kOfferWindow{60};
inline constexpr std::size_t kMaxSealedOffer = 8 * 1024;

struct SessionOffer {
  SessionId session;
  Identity gateway;
  PunchCredential punch;
  UdpReach udp;
  std::vector<Candidate> candidates;  // at most kMaxSignalCandidates, more are trickled; `base` is not told
  WallTime time;
};

struct SessionAnswer {
  SessionId session;
  Identity client;
  // Absent: accepted.
  std::optional<RefusalReason> refusal;
  // All below is empty in a refusal, but the time.
  PunchCredential punch;
  // The gateway's: tags the checks of both directions.
  StunTransactionKey transaction_key;
  UdpReach udp;
  std::vector<Candidate> candidates;
  WallTime time;
};

struct SealedOffer {
  ByteBuffer bytes;                       // for OfferMessage
  std::array<std::uint8_t, 32> digest{};  // the answer has to carry it; keep until then
};

// kLimit when a bound is exceeded.
[[nodiscard]] Result<SealedOffer> seal_offer(const SessionOffer& offer, const Credentials& client);

struct VerifiedOffer {
  Identity client;
  CertificateSerial serial;
  SessionOffer offer;
  std::array<std::uint8_t, 32> digest{};  // for seal_answer
};

// Gateway side: certificate of the site's CA and a client's, listed in the roster and not
// revoked, addressed to this gateway, within the window, and a session id never seen in it.
class OfferVerifier {
 public:
  // Session ids remembered, each for twice the window. When the table is full of live ids new
  // offers are refused (kLimit): forgetting one would let it be replayed.
  static constexpr std::size_t kMaxSeen = 65'536;

  // `credentials` are the gateway's own and have to outlive this.
  explicit OfferVerifier(const Credentials& credentials) : credentials_(credentials) {}

  // Errors: those of PeerCertificate::verify(), kRevoked, kUntrusted (signature), kExpired (window),
  // kWrongIdentity (another gateway), kRefused (replay), kMalformed, kLimit.
  [[nodiscard]] Result<VerifiedOffer> verify(ByteView sealed_offer, const Roster& roster, WallTime wall_now);

 private:
  void forget_old(WallTime wall_now);

  const Credentials& credentials_;
  std::map<SessionId, WallTime> seen_;         // until when to remember
  std::multimap<WallTime, SessionId> expiry_;  // the same, by time
};

// Gateway side. The answer is bound to the offer by its digest.
[[nodiscard]] Result<ByteBuffer> seal_answer(const SessionAnswer& answer,
                                             const std::array<std::uint8_t, 32>& offer_digest,
                                             const Credentials& gateway);

// Client side: certificate of the site's CA and of exactly the gateway the offer went to, listed and
// not revoked, bound to this offer, within the window. `gateway` is that of the offer.
[[nodiscard]] Result<SessionAnswer> verify_answer(ByteView sealed_answer, const SessionId& session,
                                                  const Identity& gateway,
                                                  const std::array<std::uint8_t, 32>& offer_digest,
                                                  const Credentials& client, const Roster& roster, WallTime wall_now);

}  // namespace natt
