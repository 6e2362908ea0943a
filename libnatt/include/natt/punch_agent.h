// SPDX-License-Identifier: Apache-2.0
#pragma once

// Connectivity checks for all sessions of one UDP socket: opens NATs, finds the paths
// that work, and keeps asking whether the peer still consents (RFC 8445, RFC 7675,
// adapted in docs/WIRE.md section 5). Both client and gateway run one.
//
// A session: add_session, then candidates in any order as signaling brings them.
// Checks begin at the session's start, at once for each further candidate, with
// growing pauses, inside the caps of ProbeBudget and the rules of CandidatePolicy.
// Each authenticated check that arrives is answered and answered with a check
// (triggered check), and its source becomes a peer-reflexive candidate. The first
// check that is answered makes PathValidated: the QUIC Initial goes out then.
//
// Unauthenticated bytes are dropped with a counter: no reply, no log line, no
// allocation. Resource type, belongs to one loop's thread.

#include <cstdint>
#include <memory>
#include <optional>

#include <natt/candidate.h>
#include <natt/candidate_policy.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/probe_budget.h>
#include <natt/punch_session.h>
#include <natt/random.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

struct PunchOptions {
  // Time between the first and the second check of a pair; each further pause is `backoff` times
  // longer, up to `max_interval`. 100 ms covers clocks that differ by as much; a pair sends
  // 11 checks in its 10 s, so four candidates of one IP stay inside ProbeBudget's 50.
  Duration first_interval = std::chrono::milliseconds(100);
  double backoff = 1.5;
  Duration max_interval = std::chrono::seconds(2);
  // A pair without an answer this long after its start rests until its session is restarted or the peer calls.
  Duration try_for = std::chrono::seconds(10);
  // RFC 7675 section 5.1: every 5 s, randomised by 20 %; consent expires 30 s after the last answer.
  Duration consent_interval = std::chrono::seconds(5);
  Duration consent_timeout = std::chrono::seconds(30);
  // Validated paths that are not in use are kept open at this interval: below the 30 s of short-lived NATs.
  Duration standby_interval = std::chrono::seconds(12);
  // A used path that was sent on and not heard from for silent_probe_after is asked at once and every
  // silent_probe_interval (growing by `backoff`), and reported as silent at silent_after; for long RTTs three
  // times the RTT instead, and one and a half times for the two others.
  Duration silent_probe_after = std::chrono::milliseconds(400);
  Duration silent_probe_interval = std::chrono::milliseconds(250);
  Duration silent_after = std::chrono::seconds(1);
  std::size_t max_sessions = 16384;
  ProbeBudgetOptions budget;
  CandidatePolicyOptions policy;
  LogSink log;
};

class PunchAgent {
 public:
  struct Stats {
    std::uint64_t checks_sent = 0;
    std::uint64_t consent_sent = 0;
    std::uint64_t responses_sent = 0;
    std::uint64_t requests_accepted = 0;
    std::uint64_t responses_accepted = 0;
    std::uint64_t peer_reflexive = 0;
    std::uint64_t paths_validated = 0;
    std::uint64_t paths_lost = 0;
    std::uint64_t candidates_refused = 0;  // by the policy or the cap
    std::uint64_t deferred_by_budget = 0;
    std::uint64_t dropped_malformed = 0;
    std::uint64_t dropped_unknown_username = 0;
    std::uint64_t unclaimed_answers = 0;  // given back to the owner: another part of the socket may have asked
    std::uint64_t dropped_bad_tag = 0;
    std::uint64_t dropped_bad_fingerprint = 0;
    std::uint64_t dropped_bad_integrity = 0;
    std::uint64_t dropped_replay = 0;
    std::uint64_t dropped_role = 0;
    std::uint64_t dropped_source = 0;  // the policy forbids answering there, or a response came from elsewhere
    std::uint64_t dropped_budget = 0;  // requests that could not be answered within the caps
    std::uint64_t events_lost = 0;     // the owner did not poll
  };

  PunchAgent(PunchOptions options, Random& random);
  ~PunchAgent();
  PunchAgent(const PunchAgent&) = delete;
  PunchAgent& operator=(const PunchAgent&) = delete;

  // Errc::kLimit when max_sessions are there; Errc::kMalformed for an id or ufrag that is in use or not of the form.
  [[nodiscard]] Result<void> add_session(Instant now, PunchSession session);
  [[nodiscard]] Result<void> set_remote_credential(Instant now, PunchSessionId id, PunchCredential credential);
  // News from the broker; candidates refused before for want of it are looked at again.
  void set_vouch(Instant now, PunchSessionId id, PeerVouch vouch);
  // kAllowed: it will be checked (or is already). Anything else: why not; a candidate that was merely not
  // vouched for yet is remembered and looked at again at set_vouch and restart. Past kMaxCandidates: kTooMany.
  CandidateVerdict add_remote_candidate(Instant now, PunchSessionId id, const Candidate& candidate);
  // Checks all candidates anew as if the session began: after a network change of either end, or for an upgrade
  // from the relay. Validated paths stay.
  void restart(Instant now, PunchSessionId id);
  // Silent: no packet, no event. Late packets of the session are a stranger's.
  void remove_session(PunchSessionId id);

  // The policy's addresses are the owner's to keep current.
  [[nodiscard]] CandidatePolicy& policy();

  // A path that carries tunnel packets: consent every consent_interval, and PathSilent when nothing comes back.
  void use_path(Instant now, const PunchPath& path);
  void release_path(Instant now, const PunchPath& path);
  // Called (once per batch) when authenticated tunnel packets went out or came in on a used path.
  void note_sent(Instant now, const PunchPath& path);
  void note_received(Instant now, const PunchPath& path);
  // A check now: when the tunnel suspects the path.
  void probe_path(Instant now, const PunchPath& path);
  [[nodiscard]] std::optional<PathStatus> path_status(const PunchPath& path) const;
  // The validated, not silent path of highest rank: kind, then smoothed RTT.
  [[nodiscard]] std::optional<PunchPath> best_path(PunchSessionId id) const;
  // Whether tunnel bytes may be sent there beyond three times what came from it (RFC 9000 section 8).
  [[nodiscard]] bool is_validated(const PunchPath& path) const;

  // True when the datagram was STUN that only this agent could have used, valid or not; false when it is not STUN
  // or an answer to a request that this agent did not make (a StunClient's: ask those, in any order).
  [[nodiscard]] bool handle_datagram(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Transmit> poll_transmit();
  [[nodiscard]] std::optional<PunchEvent> poll_event();

  [[nodiscard]] std::size_t session_count() const;
  [[nodiscard]] const Stats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
