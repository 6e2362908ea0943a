// SPDX-License-Identifier: Apache-2.0
#include "src/punch/session_state.h"

#include <algorithm>
#include <utility>

namespace natt {

CandidatePair* SessionState::find(const SocketAddress& remote) {
  return const_cast<CandidatePair*>(std::as_const(*this).find(remote));
}

const CandidatePair* SessionState::find(const SocketAddress& remote) const {
  const auto pair =
      std::find_if(pairs_.begin(), pairs_.end(), [&](const CandidatePair& p) { return p.remote.address == remote; });
  return pair == pairs_.end() ? nullptr : &*pair;
}

bool SessionState::has_path() const {
  return std::any_of(pairs_.begin(), pairs_.end(), [](const CandidatePair& p) { return p.liveness.has_value(); });
}

CandidatePair* SessionState::add(const Candidate& candidate) {
  if (CandidatePair* known = find(candidate.address)) {
    if (known->remote.type == CandidateType::kPeerReflexive) known->remote = candidate;
    return known;
  }
  if (pairs_.size() + held_.size() >= kMaxCandidates) return nullptr;
  return &pairs_.emplace_back(candidate, schedule_);
}

CandidatePair* SessionState::worst_unvalidated() {
  CandidatePair* worst = nullptr;
  for (CandidatePair& pair : pairs_) {
    if (pair.liveness) continue;
    if (worst == nullptr || candidate_priority(pair.remote) < candidate_priority(worst->remote)) worst = &pair;
  }
  return worst;
}

bool SessionState::hold(const Candidate& candidate) {
  if (std::find(held_.begin(), held_.end(), candidate) != held_.end()) return true;
  if (pairs_.size() + held_.size() >= kMaxCandidates) return false;
  held_.push_back(candidate);
  return true;
}

std::vector<Candidate> SessionState::take_held() { return std::exchange(held_, {}); }

std::optional<Instant> SessionState::next_deadline() const {
  std::optional<Instant> next = verdict_at;
  if (!can_send()) return next;
  for (const CandidatePair& pair : pairs_) next = earlier(next, pair.next_deadline());
  return next;
}

}  // namespace natt
