// SPDX-License-Identifier: Apache-2.0
#include <natt/race.h>

// The words that status output, logs and metrics use, and the judgement which of
// them explains a relayed session.

namespace natt {

std::string_view to_string(ConnectionType type) {
  switch (type) {
    case ConnectionType::kDirect:
      return "Direct";
    case ConnectionType::kNatTraversal:
      return "Direct via NAT Traversal";
    case ConnectionType::kRelay:
      return "Relay";
  }
  return "";
}

std::string_view to_string(AttemptFailure failure) {
  switch (failure) {
    case AttemptFailure::kNone:
      return "none";
    case AttemptFailure::kNotTried:
      return "not-tried";
    case AttemptFailure::kNoCandidates:
      return "no-candidates";
    case AttemptFailure::kPunchTimeout:
      return "punch-timeout";
    case AttemptFailure::kHandshake:
      return "handshake-failed";
    case AttemptFailure::kRefused:
      return "refused";
    case AttemptFailure::kUnavailable:
      return "unavailable";
    case AttemptFailure::kTimeout:
      return "timeout";
  }
  return "";
}

std::string_view to_string(RelayReason reason) {
  switch (reason) {
    case RelayReason::kForced:
      return "forced";
    case RelayReason::kUdpBlocked:
      return "udp-blocked";
    case RelayReason::kPeerUdpBlocked:
      return "peer-udp-blocked";
    case RelayReason::kSameNatAsBroker:
      return "same-nat-as-broker";
    case RelayReason::kNoCandidates:
      return "no-candidates";
    case RelayReason::kHardNatBoth:
      return "hard-nat-both";
    case RelayReason::kHardNatOne:
      return "hard-nat-one";
    case RelayReason::kRefused:
      return "traversal-refused";
    case RelayReason::kPunchTimeout:
      return "punch-timeout";
    case RelayReason::kHandshakeFailed:
      return "handshake-failed";
    case RelayReason::kSlower:
      return "slower";
  }
  return "";
}

namespace {

// What the networks are like, when it explains why punching cannot work.
std::optional<RelayReason> network_reason(const RaceFacts& facts) {
  if (facts.stun_answered == Tristate::kNo) return RelayReason::kUdpBlocked;
  if (facts.peer_stun_answered == Tristate::kNo) return RelayReason::kPeerUdpBlocked;
  if (facts.shares_nat_with_broker) return RelayReason::kSameNatAsBroker;
  if (facts.pairs == 0) return RelayReason::kNoCandidates;
  const bool hard = facts.mapping == MappingDifficulty::kHard;
  const bool peer_hard = facts.peer_mapping == MappingDifficulty::kHard;
  if (hard && peer_hard) return RelayReason::kHardNatBoth;
  if (hard || peer_hard) return RelayReason::kHardNatOne;
  return std::nullopt;
}

}  // namespace

RelayReason decide_relay_reason(const RaceFacts& facts, AttemptFailure traversal) {
  if (facts.relay_only || traversal == AttemptFailure::kNotTried) return RelayReason::kForced;
  // A path that was there, or an answer of the other end, is no fault of the networks.
  if (traversal == AttemptFailure::kHandshake) return RelayReason::kHandshakeFailed;
  if (traversal == AttemptFailure::kRefused) return RelayReason::kRefused;
  if (const auto reason = network_reason(facts)) return *reason;
  if (traversal == AttemptFailure::kNoCandidates) return RelayReason::kNoCandidates;
  return traversal == AttemptFailure::kNone ? RelayReason::kSlower : RelayReason::kPunchTimeout;
}

}  // namespace natt
