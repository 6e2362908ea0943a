// SPDX-License-Identifier: Apache-2.0
#pragma once

// One session of a PunchAgent: credentials, candidates and their pairs. Knows no
// socket, no budget and no other session. Owned by the SessionTable.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/punch_session.h>

#include "src/punch/candidate_pair.h"
#include "src/punch/recent_nonces.h"

namespace natt {

class SessionState {
 public:
  SessionState(PunchSession session, const CheckSchedule::Options& schedule, std::uint64_t tie_breaker)
      : session_(std::move(session)), schedule_(schedule), tie_breaker_(tie_breaker) {}
  SessionState(const SessionState&) = delete;
  SessionState& operator=(const SessionState&) = delete;

  [[nodiscard]] const PunchSession& description() const { return session_; }
  [[nodiscard]] std::uint64_t tie_breaker() const { return tie_breaker_; }
  [[nodiscard]] bool can_send() const { return session_.remote.has_value(); }
  // USERNAME of our checks: remote ufrag ':' local ufrag. Meaningful when can_send().
  [[nodiscard]] std::string check_username() const { return session_.remote->ufrag + ":" + session_.local.ufrag; }
  // Whether checks may name `ufrag` as their sender: any, until the peer's credential is known.
  [[nodiscard]] bool is_peer(std::string_view ufrag) const {
    return !session_.remote || session_.remote->ufrag == ufrag;
  }
  void set_remote(PunchCredential credential) { session_.remote = std::move(credential); }
  void set_vouch(PeerVouch vouch) { session_.vouch = std::move(vouch); }

  [[nodiscard]] CandidatePair* find(const SocketAddress& remote);
  [[nodiscard]] const CandidatePair* find(const SocketAddress& remote) const;
  [[nodiscard]] std::vector<CandidatePair>& pairs() { return pairs_; }
  [[nodiscard]] const std::vector<CandidatePair>& pairs() const { return pairs_; }
  [[nodiscard]] bool has_path() const;

  // A pair for a candidate that may be checked, or null past kMaxCandidates. Known candidates keep their
  // pair; what signaling tells replaces what a check taught.
  CandidatePair* add(const Candidate& candidate);
  [[nodiscard]] CandidatePair make_pair(const Candidate& candidate) const { return {candidate, schedule_}; }
  // A place for a peer-reflexive candidate: the least promising pair that is not validated. Null when all are.
  [[nodiscard]] CandidatePair* worst_unvalidated();

  // Candidates that are not vouched for yet.
  [[nodiscard]] bool hold(const Candidate& candidate);
  [[nodiscard]] std::vector<Candidate> take_held();

  [[nodiscard]] RecentNonces& nonces() { return nonces_; }

  // When the session's tries are to be judged (PunchFailed).
  std::optional<Instant> verdict_at;
  // Where the table has it filed.
  std::optional<Instant> filed_deadline;
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  PunchSession session_;
  CheckSchedule::Options schedule_;
  std::uint64_t tie_breaker_;
  std::vector<CandidatePair> pairs_;
  std::vector<Candidate> held_;
  RecentNonces nonces_;
};

}  // namespace natt
