// SPDX-License-Identifier: Apache-2.0
#include <natt/punch_agent.h>

#include <algorithm>
#include <utility>

#include <natt/errc.h>

#include "src/punch/check_message.h"
#include "src/punch/punch_agent_impl.h"

namespace natt {

PunchAgent::Impl::Impl(PunchOptions agent_options, Random& agent_random)
    : options(std::move(agent_options)), random(agent_random), policy(options.policy), budget(options.budget) {}

PunchAgent::Impl::Found PunchAgent::Impl::find(const PunchPath& path) const {
  SessionState* session = sessions.find(path.session);
  if (session == nullptr) return {};
  return {session, session->find(path.remote)};
}

PunchAgent::Impl::Found PunchAgent::Impl::find_validated(const PunchPath& path) const {
  const Found found = find(path);
  return found && found.pair->liveness ? found : Found{};
}

PunchAgent::PunchAgent(PunchOptions options, Random& random)
    : impl_(std::make_unique<Impl>(std::move(options), random)) {}
PunchAgent::~PunchAgent() = default;

Result<void> PunchAgent::add_session(Instant now, PunchSession session) {
  if (impl_->sessions.size() >= impl_->options.max_sessions) {
    return fail(Errc::kLimit, "the table of punch sessions is full; raise its limit or end sessions");
  }
  if (!is_valid_ufrag(session.local.ufrag) || (session.remote && !is_valid_ufrag(session.remote->ufrag))) {
    return fail(Errc::kMalformed, "a ufrag has 4 to 32 printable octets without a colon");
  }
  const CheckSchedule::Options schedule{.first_interval = impl_->options.first_interval,
                                        .backoff = impl_->options.backoff,
                                        .max_interval = impl_->options.max_interval,
                                        .try_for = impl_->options.try_for};
  const PunchSessionId id = session.id;
  const Instant start = std::max(now, session.start);
  auto state = std::make_unique<SessionState>(std::move(session), schedule, impl_->random.next_u64());
  state->verdict_at = start + impl_->options.try_for;
  if (!impl_->sessions.add(std::move(state))) {
    return fail(Errc::kMalformed, "the punch session's id or ufrag is in use");
  }
  impl_->sessions.file(*impl_->sessions.find(id));
  return {};
}

Result<void> PunchAgent::set_remote_credential(Instant now, PunchSessionId id, PunchCredential credential) {
  SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return fail(Errc::kClosed, "there is no such punch session");
  if (!is_valid_ufrag(credential.ufrag)) {
    return fail(Errc::kMalformed, "a ufrag has 4 to 32 printable octets without a colon");
  }
  const bool first = !session->can_send();
  session->set_remote(std::move(credential));
  if (first) {
    for (CandidatePair& pair : session->pairs()) impl_->start_pair(now, *session, pair);
    session->verdict_at = std::max(now, session->description().start) + impl_->options.try_for;
  }
  impl_->run(now, *session);
  return {};
}

void PunchAgent::set_vouch(Instant now, PunchSessionId id, PeerVouch vouch) {
  SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return;
  session->set_vouch(std::move(vouch));
  for (const Candidate& candidate : session->take_held()) add_remote_candidate(now, id, candidate);
}

CandidateVerdict PunchAgent::add_remote_candidate(Instant now, PunchSessionId id, const Candidate& candidate) {
  SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return CandidateVerdict::kUnusable;
  CandidateVerdict verdict = impl_->policy.check_remote(candidate, session->description().vouch);
  const bool later = verdict == CandidateVerdict::kNotVouched || verdict == CandidateVerdict::kPrivateElsewhere;
  if (later && !session->hold(candidate)) verdict = CandidateVerdict::kTooMany;
  CandidatePair* pair = verdict == CandidateVerdict::kAllowed ? session->add(candidate) : nullptr;
  if (verdict == CandidateVerdict::kAllowed && pair == nullptr) verdict = CandidateVerdict::kTooMany;
  if (pair == nullptr) {
    ++impl_->stats.candidates_refused;
    return verdict;
  }
  if (pair->state() == CandidatePair::State::kResting) impl_->start_pair(now, *session, *pair);
  impl_->run(now, *session);
  return verdict;
}

void PunchAgent::restart(Instant now, PunchSessionId id) {
  SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return;
  for (CandidatePair& pair : session->pairs()) impl_->start_pair(now, *session, pair);
  session->verdict_at = now + impl_->options.try_for;
  for (const Candidate& candidate : session->take_held()) add_remote_candidate(now, id, candidate);
  impl_->run(now, *session);
}

void PunchAgent::remove_session(PunchSessionId id) {
  SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return;
  for (CandidatePair& pair : session->pairs()) impl_->forget_waiting(pair);
  impl_->sessions.remove(id);
}

CandidatePolicy& PunchAgent::policy() { return impl_->policy; }

void PunchAgent::use_path(Instant now, const PunchPath& path) {
  const auto found = impl_->find_validated(path);
  if (!found || found.pair->liveness->in_use()) return;
  found.pair->liveness->use(now, impl_->random);
  impl_->sessions.file(*found.session);
}

void PunchAgent::release_path(Instant now, const PunchPath& path) {
  const auto found = impl_->find_validated(path);
  if (!found || !found.pair->liveness->in_use()) return;
  found.pair->liveness->release(now, impl_->random);
  impl_->sessions.file(*found.session);
}

void PunchAgent::note_sent(Instant now, const PunchPath& path) {
  const auto found = impl_->find_validated(path);
  if (!found) return;
  found.pair->liveness->sent(now);
  impl_->sessions.file(*found.session);
}

void PunchAgent::note_received(Instant now, const PunchPath& path) {
  const auto found = impl_->find_validated(path);
  if (!found) return;
  // Its deadline only moves away: an early timer finds nothing to do and files it anew.
  if (found.pair->liveness->heard(now)) impl_->push_event(PathRecovered{path, found.pair->liveness->rtt()});
}

void PunchAgent::probe_path(Instant now, const PunchPath& path) {
  const auto found = impl_->find_validated(path);
  if (!found) return;
  found.pair->liveness->probe_now(now);
  impl_->run(now, *found.session);
}

std::optional<PathStatus> PunchAgent::path_status(const PunchPath& path) const {
  const auto found = impl_->find_validated(path);
  if (!found) return std::nullopt;
  const PathLiveness& liveness = *found.pair->liveness;
  return PathStatus{.last_heard = liveness.last_heard(),
                    .rtt = liveness.rtt(),
                    .smoothed_rtt = liveness.smoothed_rtt(),
                    .local = found.pair->local,
                    .mapped = found.pair->mapped,
                    .kind = impl_->kind(*found.session, *found.pair),
                    .priority = candidate_priority(found.pair->remote),
                    .loss = liveness.loss(),
                    .in_use = liveness.in_use(),
                    .silent = liveness.silent()};
}

std::optional<PunchPath> PunchAgent::best_path(PunchSessionId id) const {
  const SessionState* session = impl_->sessions.find(id);
  if (session == nullptr) return std::nullopt;
  const auto rank = [&](const CandidatePair& pair) {
    return std::pair{impl_->kind(*session, pair), pair.liveness->smoothed_rtt()};
  };
  const CandidatePair* best = nullptr;
  for (const CandidatePair& pair : session->pairs()) {
    if (!pair.liveness || pair.liveness->silent()) continue;
    if (best == nullptr || rank(pair) < rank(*best)) best = &pair;
  }
  if (best == nullptr) return std::nullopt;
  return PunchPath{id, best->remote.address};
}

bool PunchAgent::is_validated(const PunchPath& path) const { return static_cast<bool>(impl_->find_validated(path)); }

bool PunchAgent::handle_datagram(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes) {
  if (!StunMessage::is_stun(bytes)) return false;
  const auto message = StunMessage::parse(bytes);
  if (!message || message->method() != kStunBinding) {
    ++impl_->stats.dropped_malformed;
    return true;
  }
  switch (message->message_class()) {
    case StunClass::kRequest: impl_->handle_request(now, from, local, *message); return true;
    case StunClass::kSuccess:
    case StunClass::kError: return impl_->handle_response(now, from, local, *message);
    case StunClass::kIndication: ++impl_->stats.dropped_malformed; return true;
  }
  return true;
}

void PunchAgent::handle_timeout(Instant now) {
  for (const PunchSessionId id : impl_->sessions.due(now)) {
    if (SessionState* session = impl_->sessions.find(id)) impl_->run(now, *session);
  }
}

std::optional<Instant> PunchAgent::next_deadline() const { return impl_->sessions.next_deadline(); }

std::optional<Transmit> PunchAgent::poll_transmit() {
  if (impl_->transmits.empty()) return std::nullopt;
  Transmit transmit = std::move(impl_->transmits.front());
  impl_->transmits.pop_front();
  return transmit;
}

std::optional<PunchEvent> PunchAgent::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  PunchEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

std::size_t PunchAgent::session_count() const { return impl_->sessions.size(); }
const PunchAgent::Stats& PunchAgent::stats() const { return impl_->stats; }

}  // namespace natt
