// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "src/punch/check_message.h"
#include "src/punch/punch_agent_impl.h"

namespace natt {

void PunchAgent::Impl::run(Instant now, SessionState& session) {
  if (session.can_send()) {
    for (CandidatePair& pair : session.pairs()) run_pair(now, session, pair);
  }
  if (session.verdict_at && now >= *session.verdict_at) {
    session.verdict_at.reset();
    if (!session.has_path()) push_event(PunchFailed{session.description().id});
  }
  sessions.file(session);
}

void PunchAgent::Impl::start_pair(Instant now, SessionState& session, CandidatePair& pair) const {
  if (!pair.liveness) pair.schedule.start(std::max(now, session.description().start));
}

void PunchAgent::Impl::run_pair(Instant now, SessionState& session, CandidatePair& pair) {
  switch (pair.state()) {
    case CandidatePair::State::kResting: return;
    case CandidatePair::State::kTrying: return try_pair(now, session, pair);
    case CandidatePair::State::kValidated: return watch_pair(now, session, pair);
  }
}

void PunchAgent::Impl::try_pair(Instant now, SessionState& session, CandidatePair& pair) {
  if (now < *pair.schedule.next()) return;
  if (!budget.take(now, pair.remote.address.ip)) {
    ++stats.deferred_by_budget;
    pair.schedule.defer(after_refusal(now));
    return;
  }
  pair.schedule.sent(now);
  ++stats.checks_sent;
  send_check(now, session, pair, true);
}

void PunchAgent::Impl::watch_pair(Instant now, SessionState& session, CandidatePair& pair) {
  const PunchPath path{session.description().id, pair.remote.address};
  switch (pair.liveness->handle_timeout(now)) {
    case PathLiveness::Change::kNone: break;
    case PathLiveness::Change::kSilent: push_event(PathSilent{path, pair.liveness->last_heard()}); break;
    case PathLiveness::Change::kLost: return lose_path(session, pair);
  }
  if (now < pair.liveness->next_check()) return;
  // Asking a peer that keeps answering is not probing; asking one that stopped is.
  const bool charged = pair.liveness->unanswered();
  if (charged && !budget.take(now, pair.remote.address.ip)) {
    ++stats.deferred_by_budget;
    pair.liveness->defer_check(after_refusal(now));
    return;
  }
  pair.liveness->check_sent(now, random);
  ++stats.consent_sent;
  send_check(now, session, pair, charged);
}

void PunchAgent::Impl::lose_path(SessionState& session, CandidatePair& pair) {
  const PunchPath path{session.description().id, pair.remote.address};
  ++stats.paths_lost;
  options.log(LogLevel::kInfo,
              fmt::format("natt.punch.path_lost session={} remote={}", path.session.value, path.remote.to_string()));
  push_event(PathLost{path, pair.liveness->last_heard()});
  pair.liveness.reset();
  pair.schedule.rest();
}

void PunchAgent::Impl::send_check(Instant now, const SessionState& session, CandidatePair& pair, bool charged) {
  const PunchSession& description = session.description();
  const std::uint32_t nonce = transactions.fresh_nonce(random);
  const StunTransactionId id = make_transaction_id(description.transaction_key, nonce);
  transactions.add({{description.id, pair.remote.address}, id, now, charged});
  if (const auto evicted = pair.remember(nonce)) transactions.remove(*evicted);
  const std::string username = session.check_username();
  // What the peer should think of the address this check comes from, if it is news to it (RFC 8445 section 7.1.1).
  const Candidate as_seen{pair.remote.address, CandidateType::kPeerReflexive, {}};
  push_transmit({pair.remote.address, pair.local,
                 build_check({.transaction = id,
                              .username = username,
                              .password = description.remote->password.view(),
                              .priority = candidate_priority(as_seen),
                              .role = description.role,
                              .tie_breaker = session.tie_breaker()})});
}

// Spread, so that thousands of waiting pairs do not all wake for the one packet that may leave.
Instant PunchAgent::Impl::after_refusal(Instant now) {
  const bool rate = budget.next_token(now) > now;
  const Duration pause = rate ? std::chrono::milliseconds(20) : std::chrono::milliseconds(1000);
  const Duration spread = rate ? std::chrono::milliseconds(80) : std::chrono::milliseconds(1000);
  return now + pause + Duration(static_cast<Duration::rep>(random.uniform(static_cast<std::uint64_t>(spread.count()))));
}

void PunchAgent::Impl::forget_waiting(CandidatePair& pair) {
  for (auto& nonce : pair.waiting) {
    if (nonce) transactions.remove(*nonce);
    nonce.reset();
  }
}

void PunchAgent::Impl::push_transmit(Transmit transmit) {
  if (transmits.size() < kMaxTransmits) transmits.push_back(std::move(transmit));
}

void PunchAgent::Impl::push_event(PunchEvent event) {
  if (events.size() >= kMaxEvents) {
    events.pop_front();
    ++stats.events_lost;
  }
  events.push_back(std::move(event));
}

}  // namespace natt
