// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include <fmt/format.h>

#include "src/punch/check_message.h"
#include "src/punch/punch_agent_impl.h"

namespace natt {
namespace {

bool has_unknown_required(const StunMessage& message) {
  std::array<std::uint16_t, 1> unknown{};
  return message.unknown_required(unknown) != 0;
}

PunchRole opposite(PunchRole role) {
  return role == PunchRole::kControlling ? PunchRole::kControlled : PunchRole::kControlling;
}

}  // namespace

// RFC 8445 section 7.3, with the silence of a host that must not be found: whatever does not prove itself, in the
// order of what a test costs, gets no answer.
void PunchAgent::Impl::handle_request(Instant now, const SocketAddress& from, const IpAddress& local,
                                      const StunMessage& message) {
  SessionState* session = authenticate_request(message);
  if (session == nullptr || !is_acceptable(from, message, *session)) return;
  CandidatePair* pair = pair_of_source(*session, from);
  if (pair == nullptr) {
    ++stats.candidates_refused;
    return;
  }
  // An answer to an address that never answered us is a packet someone else may have asked for.
  if (!pair->liveness && !budget.take(now, from.ip)) {
    ++stats.dropped_budget;
    return;
  }
  ++stats.requests_accepted;
  respond(*session, from, local, message);
  if (!pair->liveness) {
    pair->local = local;
    pair->schedule.trigger(now);  // RFC 8445 section 7.3.1.4
  } else if (pair->liveness->heard(now)) {
    push_event(PathRecovered{{session->description().id, from}, pair->liveness->rtt()});
  }
  run(now, *session);
}

SessionState* PunchAgent::Impl::authenticate_request(const StunMessage& message) {
  const auto username = message.text(StunAttribute::kUsername);
  const auto names = username ? split_username(*username) : std::nullopt;
  SessionState* session = names ? sessions.find_by_ufrag(names->receiver) : nullptr;
  if (session == nullptr || !session->is_peer(names->sender)) {
    ++stats.dropped_unknown_username;
    return nullptr;
  }
  if (!has_valid_tag(session->description().transaction_key, message.transaction_id())) {
    ++stats.dropped_bad_tag;
    return nullptr;
  }
  if (!message.has_valid_fingerprint()) {
    ++stats.dropped_bad_fingerprint;
    return nullptr;
  }
  if (!message.has_valid_integrity_sha256(session->description().local.password.view())) {
    ++stats.dropped_bad_integrity;
    return nullptr;
  }
  return session;
}

bool PunchAgent::Impl::is_acceptable(const SocketAddress& from, const StunMessage& message, SessionState& session) {
  if (has_unknown_required(message)) {
    ++stats.dropped_malformed;
    return false;
  }
  const auto role = sender_role(message);
  if (!role || *role != opposite(session.description().role)) {
    ++stats.dropped_role;
    return false;
  }
  if (!session.nonces().insert(transaction_nonce(message.transaction_id()))) {
    ++stats.dropped_replay;
    return false;
  }
  if (policy.check_source(from, session.description().vouch) != CandidateVerdict::kAllowed) {
    ++stats.dropped_source;
    return false;
  }
  return true;
}

CandidatePair* PunchAgent::Impl::pair_of_source(SessionState& session, const SocketAddress& from) {
  if (CandidatePair* known = session.find(from)) return known;
  const Candidate candidate{from, CandidateType::kPeerReflexive, {}};
  CandidatePair* pair = session.add(candidate);
  if (pair == nullptr) {
    // Authentic and alive: worth more than a candidate that was only told.
    pair = session.worst_unvalidated();
    if (pair == nullptr) return nullptr;
    forget_waiting(*pair);
    *pair = session.make_pair(candidate);
  }
  ++stats.peer_reflexive;
  return pair;
}

void PunchAgent::Impl::respond(const SessionState& session, const SocketAddress& from, const IpAddress& local,
                               const StunMessage& request) {
  ++stats.responses_sent;
  push_transmit({from, local, build_check_response(request, from, session.description().local.password.view())});
}

bool PunchAgent::Impl::handle_response(Instant now, const SocketAddress& from, const IpAddress& local,
                                       const StunMessage& message) {
  const CheckTransaction* waiting = transactions.find(transaction_nonce(message.transaction_id()));
  if (waiting == nullptr) {
    ++stats.unclaimed_answers;
    return false;
  }
  const CheckTransaction transaction = *waiting;
  if (message.transaction_id() != transaction.id) {
    ++stats.dropped_bad_tag;
    return true;
  }
  // "the source and destination transport addresses ... are symmetric" (RFC 8445 section 7.2.5.2.1)
  if (from != transaction.path.remote) {
    ++stats.dropped_source;
    return true;
  }
  const Found path = find(transaction.path);
  const auto mapped = message.xor_mapped_address();
  if (!path || !authenticate_response(message, *path.session)) return true;
  if (message.message_class() != StunClass::kSuccess || !mapped || has_unknown_required(message)) {
    ++stats.dropped_malformed;
    return true;
  }
  transactions.remove(transaction_nonce(transaction.id));
  accept_answer(now, path, local, *mapped, transaction);
  return true;
}

bool PunchAgent::Impl::authenticate_response(const StunMessage& message, const SessionState& session) {
  if (!message.has_valid_fingerprint()) {
    ++stats.dropped_bad_fingerprint;
    return false;
  }
  if (!session.can_send() || !message.has_valid_integrity_sha256(session.description().remote->password.view())) {
    ++stats.dropped_bad_integrity;
    return false;
  }
  return true;
}

void PunchAgent::Impl::accept_answer(Instant now, Found path, const IpAddress& local, const SocketAddress& mapped,
                                     const CheckTransaction& transaction) {
  ++stats.responses_accepted;
  if (transaction.charged) budget.give_back(now, transaction.path.remote.ip, transaction.sent_at);
  path.pair->local = local;
  path.pair->mapped = mapped;
  const Duration rtt = now - transaction.sent_at;
  if (!path.pair->liveness) {
    validate(now, *path.session, *path.pair, rtt);
  } else if (path.pair->liveness->answered(now, rtt, random)) {
    push_event(PathRecovered{transaction.path, rtt});
  }
  run(now, *path.session);
}

void PunchAgent::Impl::validate(Instant now, SessionState& session, CandidatePair& pair, Duration rtt) {
  pair.liveness.emplace(PathLiveness::Options{.consent_interval = options.consent_interval,
                                              .consent_timeout = options.consent_timeout,
                                              .standby_interval = options.standby_interval,
                                              .silent_probe_after = options.silent_probe_after,
                                              .silent_probe_interval = options.silent_probe_interval,
                                              .silent_after = options.silent_after,
                                              .backoff = options.backoff});
  static_cast<void>(pair.liveness->answered(now, rtt, random));
  pair.schedule.rest();
  ++stats.paths_validated;
  const PunchPath path{session.description().id, pair.remote.address};
  const PathKind path_kind = kind(session, pair);
  options.log(LogLevel::kInfo,
              fmt::format("natt.punch.path_validated session={} remote={} kind={} rtt_us={}", path.session.value,
                          path.remote.to_string(), to_string(path_kind), rtt.count() / 1000));
  push_event(PathValidated{path, pair.local, pair.mapped, rtt, path_kind, candidate_priority(pair.remote)});
}

// Both ends name a path after the way to the controlled end: it knows that its own address was reached as it is
// when the peer saw it under that address.
PathKind PunchAgent::Impl::kind(const SessionState& session, const CandidatePair& pair) const {
  const PathKind remote = path_kind(pair.remote);
  if (session.description().role == PunchRole::kControlling || !policy.is_own(pair.mapped.ip)) return remote;
  return path_kind({pair.mapped, CandidateType::kHost, {}});
}

}  // namespace natt
