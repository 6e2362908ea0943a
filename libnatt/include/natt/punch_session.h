// SPDX-License-Identifier: Apache-2.0
#pragma once

// What both ends of a hole punch are told by signaling, and what the punch tells its
// owner. Value types.

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include <natt/address.h>
#include <natt/candidate.h>
#include <natt/candidate_policy.h>
#include <natt/random.h>
#include <natt/secret.h>
#include <natt/stun_transaction_id.h>
#include <natt/time.h>

namespace natt {

// The owner's name for a session; unique within one PunchAgent.
struct PunchSessionId {
  std::uint64_t value = 0;
  friend auto operator<=>(const PunchSessionId&, const PunchSessionId&) = default;
};

// One end's short-term credential (RFC 8445 section 5.3): the other end signs its checks with it.
struct PunchCredential {
  std::string ufrag;  // 4 to 32 octets of printable ASCII without ':'; unique within one PunchAgent
  Secret<32> password;
};
inline constexpr std::size_t kMinUfragSize = 4;
inline constexpr std::size_t kMaxUfragSize = 32;
// 8 octets of base64url text and 32 random ones.
[[nodiscard]] PunchCredential make_punch_credential(Random& random);

enum class PunchRole : std::uint8_t {
  kControlling,  // client: decides which path is used
  kControlled,   // gateway
};

struct PunchSession {
  PunchSessionId id;
  PunchRole role = PunchRole::kControlling;
  PunchCredential local;
  // May come later (set_remote_credential): without it nothing can be sent.
  std::optional<PunchCredential> remote;
  // The gateway's, told to the client by signaling: tags the checks of both directions.
  StunTransactionKey transaction_key;
  // When both ends begin; now or in the past means at once.
  Instant start{};
  PeerVouch vouch;
};

// A path of a session: the remote address, and the address of ours its checks use.
struct PunchPath {
  PunchSessionId session;
  SocketAddress remote;
  friend auto operator<=>(const PunchPath&, const PunchPath&) = default;
};

// The peer answered a fresh check from this address: tunnel packets may be sent there. Once per path;
// the first of a session is the one to start with, later ones come with what is needed to compare.
// `kind` describes the way to the controlled end (the gateway), so both ends name it alike.
struct PathValidated {
  PunchPath path;
  IpAddress local;       // where the answer arrived; packets should leave from it
  SocketAddress mapped;  // our address as the peer sees it on this path
  Duration rtt{};
  PathKind kind = PathKind::kPunched;
  std::uint32_t priority = 0;  // of the remote candidate; larger is better (natt/candidate.h)
};
// Packets were sent on a used path and nothing came back for about a second: time to use another one.
// The path stays validated and is asked on.
struct PathSilent {
  PunchPath path;
  Instant last_heard;
};
// A silent path answered again.
struct PathRecovered {
  PunchPath path;
  Duration rtt{};
};
// Consent expired (RFC 7675 section 5.1: 30 s): nothing may be sent there any more.
struct PathLost {
  PunchPath path;
  Instant last_heard;
};
// PunchOptions::try_for after the session's start (or restart) there is no path. The peer may still call.
struct PunchFailed {
  PunchSessionId session;
};
using PunchEvent = std::variant<PathValidated, PathSilent, PathRecovered, PathLost, PunchFailed>;

struct PathStatus {
  Instant last_heard;
  Duration rtt{};           // of the last answered check
  Duration smoothed_rtt{};  // RFC 6298 section 2
  IpAddress local;
  SocketAddress mapped;
  PathKind kind = PathKind::kPunched;
  std::uint32_t priority = 0;
  // Share of checks without an answer, exponentially weighted over about eight of them.
  double loss = 0;
  bool in_use = false;
  bool silent = false;
};

}  // namespace natt

template <>
struct std::hash<natt::PunchSessionId> {
  std::size_t operator()(natt::PunchSessionId id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
