// SPDX-License-Identifier: Apache-2.0
#include <natt/candidate_policy.h>

#include <algorithm>

namespace natt {
namespace {

bool contains(const std::vector<IpAddress>& list, const IpAddress& ip) {
  return std::find(list.begin(), list.end(), ip) != list.end();
}

bool intersects(const std::vector<IpAddress>& a, const std::vector<IpAddress>& b) {
  return std::any_of(a.begin(), a.end(), [&](const IpAddress& ip) { return contains(b, ip); });
}

}  // namespace

std::string_view to_string(CandidateVerdict verdict) {
  switch (verdict) {
    case CandidateVerdict::kAllowed: return "allowed";
    case CandidateVerdict::kUnusable: return "unusable address";
    case CandidateVerdict::kOwnAddress: return "own address";
    case CandidateVerdict::kBroker: return "broker address";
    case CandidateVerdict::kPrivateElsewhere: return "private address of another network";
    case CandidateVerdict::kNotVouched: return "not seen by the broker";
    case CandidateVerdict::kRelayType: return "relay candidate";
    case CandidateVerdict::kTooMany: return "too many candidates";
  }
  return "unknown";
}

bool CandidatePolicy::is_own(const IpAddress& ip) const { return contains(options_.own_addresses, ip); }

CandidateVerdict CandidatePolicy::check_own(const Candidate& candidate) const {
  const IpAddress& ip = candidate.address.ip;
  if (candidate.address.port == 0) return CandidateVerdict::kUnusable;
  if (candidate.type == CandidateType::kRelay) return CandidateVerdict::kAllowed;
  if (ip.is_loopback() && options_.allow_loopback) return CandidateVerdict::kAllowed;
  if (ip.is_private()) return CandidateVerdict::kAllowed;  // the other end decides whether it can be meant
  if (!ip.is_global()) return CandidateVerdict::kUnusable;
  return contains(public_addresses_, ip) ? CandidateVerdict::kAllowed : CandidateVerdict::kNotVouched;
}

CandidateVerdict CandidatePolicy::check_destination(const SocketAddress& address) const {
  if (address.port == 0) return CandidateVerdict::kUnusable;
  if (options_.allow_loopback && address.ip.is_loopback()) return CandidateVerdict::kAllowed;
  if (!address.ip.is_private() && !address.ip.is_global()) return CandidateVerdict::kUnusable;
  if (contains(options_.broker_addresses, address.ip)) return CandidateVerdict::kBroker;
  if (!options_.allow_loopback && is_own(address.ip)) return CandidateVerdict::kOwnAddress;
  return CandidateVerdict::kAllowed;
}

bool CandidatePolicy::private_reachable(const IpAddress& ip, const PeerVouch& vouch) const {
  if (contains(vouch.configured, ip)) return true;
  const auto holds = [&](const IpPrefix& prefix) { return prefix.contains(ip); };
  if (std::any_of(options_.private_prefixes.begin(), options_.private_prefixes.end(), holds)) return true;
  // Behind one NAT, or: a broker inside a company saw both ends with the private addresses they have there.
  return intersects(vouch.seen, public_addresses_) ||
         (contains(vouch.seen, ip) && std::any_of(public_addresses_.begin(), public_addresses_.end(),
                                                  [](const IpAddress& own) { return own.is_private(); }));
}

CandidateVerdict CandidatePolicy::check_remote(const Candidate& candidate, const PeerVouch& vouch) const {
  if (candidate.type == CandidateType::kRelay) return CandidateVerdict::kRelayType;
  const IpAddress& ip = candidate.address.ip;
  const CandidateVerdict verdict = check_source(candidate.address, vouch);
  if (verdict != CandidateVerdict::kAllowed || !ip.is_global()) return verdict;
  const bool vouched = contains(vouch.seen, ip) || contains(vouch.configured, ip);
  return vouched ? CandidateVerdict::kAllowed : CandidateVerdict::kNotVouched;
}

CandidateVerdict CandidatePolicy::check_source(const SocketAddress& source, const PeerVouch& vouch) const {
  const CandidateVerdict verdict = check_destination(source);
  if (verdict != CandidateVerdict::kAllowed || !source.ip.is_private()) return verdict;
  return private_reachable(source.ip, vouch) ? CandidateVerdict::kAllowed : CandidateVerdict::kPrivateElsewhere;
}

}  // namespace natt
