// SPDX-License-Identifier: Apache-2.0
#include <natt/candidate.h>

#include <array>

namespace natt {
namespace {

constexpr std::array kTypes = {CandidateType::kHost, CandidateType::kServerReflexive, CandidateType::kPeerReflexive,
                               CandidateType::kMapped, CandidateType::kRelay};

// RFC 8445 section 5.1.2.2: 0 to 126, peer-reflexive above server-reflexive, relayed 0. Ours puts a private
// host address (a shared LAN) first and a public or mapped one, where nothing has to be punched, second.
std::uint32_t type_preference(const Candidate& candidate) {
  switch (candidate.type) {
    case CandidateType::kHost: return path_kind(candidate) == PathKind::kLan ? 126 : 120;
    case CandidateType::kMapped: return 118;
    case CandidateType::kPeerReflexive: return 110;
    case CandidateType::kServerReflexive: return 100;
    case CandidateType::kRelay: return 0;
  }
  return 0;
}

bool is_local_network(const IpAddress& ip) { return ip.is_private() || ip.is_loopback(); }

}  // namespace

std::string_view to_string(CandidateType type) {
  switch (type) {
    case CandidateType::kHost: return "host";
    case CandidateType::kServerReflexive: return "srflx";
    case CandidateType::kPeerReflexive: return "prflx";
    case CandidateType::kMapped: return "mapped";
    case CandidateType::kRelay: return "relay";
  }
  return "unknown";
}

std::optional<CandidateType> parse_candidate_type(std::string_view text) {
  for (const CandidateType type : kTypes) {
    if (to_string(type) == text) return type;
  }
  return std::nullopt;
}

std::string_view to_string(PathKind kind) {
  switch (kind) {
    case PathKind::kLan: return "lan";
    case PathKind::kDirect: return "direct";
    case PathKind::kPunched: return "punched";
    case PathKind::kRelay: return "relay";
  }
  return "unknown";
}

PathKind path_kind(const Candidate& remote) {
  switch (remote.type) {
    case CandidateType::kHost: return is_local_network(remote.address.ip) ? PathKind::kLan : PathKind::kDirect;
    case CandidateType::kMapped: return PathKind::kDirect;
    case CandidateType::kServerReflexive:
    case CandidateType::kPeerReflexive:
      return is_local_network(remote.address.ip) ? PathKind::kLan : PathKind::kPunched;
    case CandidateType::kRelay: return PathKind::kRelay;
  }
  return PathKind::kRelay;
}

std::uint32_t candidate_priority(const Candidate& candidate) {
  const std::uint32_t local_preference = candidate.address.ip.is_v4() ? 32767 : 65535;
  constexpr std::uint32_t kComponent = 1;
  return (type_preference(candidate) << 24) + (local_preference << 8) + (256 - kComponent);
}

}  // namespace natt
