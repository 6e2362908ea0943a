// SPDX-License-Identifier: Apache-2.0
#include "src/signal/signal_fields.h"

#include <algorithm>

#include <fmt/format.h>

namespace natt {
namespace {

constexpr std::uint64_t kMaxWireDuration = 24 * 3600 * 1000;

// RFC 8445 section 5.3 allows ice-char only; what identifies a session in a USERNAME must not hold the ':'
// that separates the two halves of it.
bool is_ufrag(const std::string& text) {
  return text.size() >= kMinUfragSize && text.size() <= kMaxUfragSize &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != ':'; });
}

}  // namespace

std::string SessionId::to_string() const { return fmt::format("{:02x}", fmt::join(octets.begin(), octets.end(), "")); }

std::string_view to_string(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kNotEntitled: return "not-entitled";
    case RefusalReason::kGatewayOffline: return "gateway-offline";
    case RefusalReason::kUnknownGateway: return "unknown-gateway";
    case RefusalReason::kTooManySessions: return "too-many-sessions";
    case RefusalReason::kRateLimited: return "rate-limited";
    case RefusalReason::kDuplicate: return "duplicate";
    case RefusalReason::kStale: return "stale";
    case RefusalReason::kDraining: return "draining";
    case RefusalReason::kQuota: return "quota";
    case RefusalReason::kNoRelay: return "no-relay";
    case RefusalReason::kInvalid: return "invalid";
  }
  return "unknown";
}

std::string_view to_string(SessionEndReason reason) {
  switch (reason) {
    case SessionEndReason::kClosed: return "closed";
    case SessionEndReason::kPeerGone: return "peer-gone";
    case SessionEndReason::kRevoked: return "revoked";
    case SessionEndReason::kBrokerDrain: return "broker-drain";
  }
  return "unknown";
}

std::optional<std::chrono::milliseconds> get_duration(std::uint64_t milliseconds) {
  if (milliseconds > kMaxWireDuration) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds));
}

std::optional<SessionId> get_session(const std::string& in) {
  SessionId id;
  if (!copy_exactly<16>(in, id.octets)) return std::nullopt;
  return id;
}

std::optional<RelayTransport> get_transport(std::uint32_t in) {
  if (in < 1 || in > 2) return std::nullopt;
  return static_cast<RelayTransport>(in);
}

std::optional<RefusalReason> get_refusal(std::uint32_t in) {
  if (in < 1 || in > static_cast<std::uint32_t>(RefusalReason::kInvalid)) return std::nullopt;
  return static_cast<RefusalReason>(in);
}

std::optional<SessionEndReason> get_end_reason(std::uint32_t in) {
  if (in < 1 || in > static_cast<std::uint32_t>(SessionEndReason::kBrokerDrain)) return std::nullopt;
  return static_cast<SessionEndReason>(in);
}

void put_reach(const UdpReach& reach, wire::UdpReach& out) {
  out.set_mapping(static_cast<std::uint32_t>(reach.nat.mapping));
  out.set_filtering(static_cast<std::uint32_t>(reach.nat.filtering));
  out.set_stun_answered(reach.stun_answered);
}

std::optional<UdpReach> get_reach(const wire::UdpReach& in) {
  constexpr auto kLast = static_cast<std::uint32_t>(NatMapping::kAddressAndPortDependent);
  if (in.mapping() > kLast || in.filtering() > kLast) return std::nullopt;
  UdpReach out;
  out.nat.mapping = static_cast<NatMapping>(in.mapping());
  out.nat.filtering = static_cast<NatFiltering>(in.filtering());
  out.stun_answered = in.stun_answered();
  return out;
}

void put_punch(const PunchCredential& punch, wire::PunchCredential& out) {
  out.set_ufrag(punch.ufrag);
  out.set_password(to_wire(punch.password.view()));
}

std::optional<PunchCredential> get_punch(const wire::PunchCredential& in) {
  PunchCredential out;
  if (!is_ufrag(in.ufrag()) || !copy_exactly<32>(in.password(), out.password.mutable_view())) return std::nullopt;
  out.ufrag = in.ufrag();
  return out;
}

void put_candidates(const std::vector<Candidate>& candidates, WireCandidates& out) {
  for (const Candidate& candidate : candidates) {
    wire::Candidate& entry = *out.Add();
    entry.set_type(static_cast<std::uint32_t>(candidate.type));
    put_address(candidate.address, *entry.mutable_address());
  }
}

bool get_candidates(const WireCandidates& in, std::vector<Candidate>& out) {
  if (static_cast<std::size_t>(in.size()) > kMaxSignalCandidates) return false;
  for (const wire::Candidate& entry : in) {
    const auto address = get_address(entry.address());
    if (!address || entry.type() < 1 || entry.type() > static_cast<std::uint32_t>(CandidateType::kRelay)) return false;
    out.push_back({.address = *address, .type = static_cast<CandidateType>(entry.type()), .base = {}});
  }
  return true;
}

void put_ips(const std::vector<IpAddress>& ips, WireStrings& out) {
  for (const IpAddress& ip : ips) *out.Add() = to_wire(ip.octets());
}

bool get_ips(const WireStrings& in, std::size_t limit, std::vector<IpAddress>& out) {
  if (static_cast<std::size_t>(in.size()) > limit) return false;
  for (const std::string& entry : in) {
    std::array<std::uint8_t, 16> octets{};
    if (!copy_exactly<16>(entry, octets)) return false;
    out.push_back(IpAddress::v6(octets));
  }
  return true;
}

}  // namespace natt
