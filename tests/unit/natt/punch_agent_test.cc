// SPDX-License-Identifier: Apache-2.0
// A session's life: checks, answers, validation, candidates, restart, removal.

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "unit/natt/punch_pair.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<Duration> check_times(PunchPair& pair, Duration total) {
  std::vector<Duration> times;
  const Instant begin = pair.now;
  while (true) {
    while (pair.next(pair.a)) times.push_back(pair.now - begin);
    const auto deadline = pair.a.next_deadline();
    if (!deadline || *deadline > begin + total) return times;
    pair.now = *deadline;
    pair.a.handle_timeout(pair.now);
  }
}

}  // namespace

TEST_CASE("punch: a check carries what the peer needs to trust it", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();

  const auto check = pair.next(pair.a);

  REQUIRE(check);
  CHECK(check->to == kAddressB);
  const auto message = StunMessage::parse(check->bytes);
  REQUIRE(message);
  CHECK(message->text(StunAttribute::kUsername) == pair.of_b.ufrag + ":" + pair.of_a.ufrag);
  CHECK(message->number64(StunAttribute::kIceControlling));
  CHECK(message->number32(StunAttribute::kPriority) ==
        candidate_priority({kAddressB, CandidateType::kPeerReflexive, {}}));
  CHECK(message->has_valid_integrity_sha256(pair.of_b.password.view()));
  CHECK(message->has_valid_fingerprint());
  CHECK(has_valid_tag(pair.key, message->transaction_id()));
}

TEST_CASE("punch: both ends validate the path, with RTT, addresses and kind", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();
  const auto check = pair.next(pair.a);
  pair.now += milliseconds(15);
  REQUIRE(pair.deliver(pair.b, kAddressA, kAddressB, check->bytes));
  while (const auto packet = pair.next(pair.b)) {
    pair.now += milliseconds(10);
    REQUIRE(pair.deliver(pair.a, kAddressB, kAddressA, packet->bytes));
  }

  const auto validated = PunchPair::events<PathValidated>(pair.a);
  REQUIRE(validated.size() == 1);
  CHECK(validated[0].path == kPathToB);
  CHECK(validated[0].local == kAddressA.ip);
  CHECK(validated[0].mapped == kAddressA);
  CHECK(validated[0].rtt >= milliseconds(25));
  CHECK(validated[0].kind == PathKind::kPunched);
  pair.pump();
  CHECK(PunchPair::events<PathValidated>(pair.b).size() == 1);
  CHECK(pair.a.is_validated(kPathToB));
  CHECK(pair.a.best_path(kSession) == kPathToB);
}

TEST_CASE("punch: an answer is not longer than its check", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();
  const auto check = pair.next(pair.a);
  while (pair.next(pair.b)) {
  }
  REQUIRE(pair.deliver(pair.b, kAddressA, kAddressB, check->bytes));

  const auto answer = pair.next(pair.b);

  REQUIRE(answer);
  CHECK(answer->to == kAddressA);
  CHECK(answer->from == kAddressB.ip);
  CHECK(answer->bytes.size() <= check->bytes.size());
}

TEST_CASE("punch: checks leave at once, then with growing pauses, then rest and report", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();

  const auto times = check_times(pair, seconds(60));

  REQUIRE(times.size() >= 10);
  CHECK(times.size() <= 12);
  CHECK(times[0] == Duration::zero());
  CHECK(times[1] == milliseconds(100));
  CHECK(times[2] == milliseconds(250));
  CHECK(times.back() < seconds(10));
  CHECK(PunchPair::events<PunchFailed>(pair.a).size() == 1);
  CHECK_FALSE(pair.a.next_deadline());
}

TEST_CASE("punch: nothing is sent before the session's start", "[natt][punch]") {
  PunchPair pair;
  PunchSession session = pair.session(PunchRole::kControlling);
  session.start = pair.now + milliseconds(300);
  REQUIRE(pair.a.add_session(pair.now, session));
  pair.tell(pair.a, kAddressB);

  CHECK_FALSE(pair.next(pair.a));
  CHECK(pair.a.next_deadline() == session.start);
  pair.now = session.start;
  pair.a.handle_timeout(pair.now);
  CHECK(pair.next(pair.a));
}

TEST_CASE("punch: a check that comes before the own start is answered and answered with a check", "[natt][punch]") {
  PunchPair pair;
  REQUIRE(pair.a.add_session(pair.now, pair.session(PunchRole::kControlling)));
  PunchSession late = pair.session(PunchRole::kControlled);
  late.start = pair.now + seconds(5);
  REQUIRE(pair.b.add_session(pair.now, late));
  pair.tell(pair.a, kAddressB);

  pair.pump();

  CHECK(pair.a.is_validated(kPathToB));
  CHECK(pair.b.is_validated(kPathToA));
}

TEST_CASE("punch: the remote credential may come after candidates and checks", "[natt][punch]") {
  PunchPair pair;
  PunchSession session = pair.session(PunchRole::kControlling);
  session.remote.reset();
  REQUIRE(pair.a.add_session(pair.now, session));
  REQUIRE(pair.b.add_session(pair.now, pair.session(PunchRole::kControlled)));
  pair.tell(pair.a, kAddressB);
  pair.tell(pair.b, kAddressA);
  CHECK_FALSE(pair.next(pair.a));

  // The gateway's check can be verified and answered, but not called back yet.
  const auto check = pair.next(pair.b);
  REQUIRE(pair.deliver(pair.a, kAddressB, kAddressA, check->bytes));
  const auto answer = pair.next(pair.a);
  REQUIRE(answer);
  CHECK(StunMessage::parse(answer->bytes)->message_class() == StunClass::kSuccess);
  CHECK_FALSE(pair.next(pair.a));

  REQUIRE(pair.a.set_remote_credential(pair.now, kSession, pair.of_b));
  pair.pump();
  CHECK(pair.a.is_validated(kPathToB));
}

TEST_CASE("punch: an unknown source of an authentic check becomes a peer-reflexive candidate", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  pair.tell(pair.a, kAddressB);
  const SocketAddress elsewhere = *SocketAddress::parse("203.0.113.77:6000");
  const auto check = pair.next(pair.a);

  REQUIRE(pair.deliver(pair.b, elsewhere, kAddressB, check->bytes));

  CHECK(pair.b.stats().peer_reflexive == 1);
  const auto answer = pair.next(pair.b);
  REQUIRE(answer);
  CHECK(answer->to == elsewhere);
  CHECK(StunMessage::parse(answer->bytes)->xor_mapped_address() == elsewhere);
  const auto triggered = pair.next(pair.b);
  REQUIRE(triggered);
  CHECK(triggered->to == elsewhere);
  CHECK(StunMessage::parse(triggered->bytes)->message_class() == StunClass::kRequest);
}

TEST_CASE("punch: a told candidate replaces what a check taught about it", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  pair.tell(pair.a, kAddressB);
  pair.pump();
  REQUIRE(pair.b.is_validated(kPathToA));
  CHECK(pair.b.path_status(kPathToA)->kind == PathKind::kPunched);

  pair.tell(pair.b, kAddressA, CandidateType::kHost);

  CHECK(pair.b.path_status(kPathToA)->kind == PathKind::kDirect);
}

TEST_CASE("punch: both ends name a path after the way to the gateway", "[natt][punch]") {
  PunchPair pair;
  pair.b.policy() = CandidatePolicy({.own_addresses = {kAddressB.ip}});
  pair.open();
  pair.tell(pair.a, kAddressB, CandidateType::kHost);
  pair.tell(pair.b, kAddressA, CandidateType::kServerReflexive);

  pair.pump();

  CHECK(PunchPair::events<PathValidated>(pair.a).at(0).kind == PathKind::kDirect);
  CHECK(PunchPair::events<PathValidated>(pair.b).at(0).kind == PathKind::kDirect);
}

TEST_CASE("punch: a better path is reported after the first", "[natt][punch]") {
  PunchPair pair;
  pair.connect();
  REQUIRE(PunchPair::events<PathValidated>(pair.a).size() == 1);
  PeerVouch vouch{.seen = {kAddressA.ip, kAddressB.ip}, .configured = {*IpAddress::parse("10.0.0.2")}};
  pair.a.set_vouch(pair.now, kSession, vouch);
  vouch.configured = {*IpAddress::parse("10.0.0.1")};
  pair.b.set_vouch(pair.now, kSession, vouch);
  const SocketAddress lan_a = *SocketAddress::parse("10.0.0.1:40000");
  const SocketAddress lan_b = *SocketAddress::parse("10.0.0.2:40000");
  pair.tell(pair.a, lan_b, CandidateType::kHost);

  REQUIRE(pair.deliver(pair.b, lan_a, lan_b, pair.next(pair.a)->bytes));
  REQUIRE(pair.deliver(pair.a, lan_b, lan_a, pair.next(pair.b)->bytes));

  const auto validated = PunchPair::events<PathValidated>(pair.a);
  REQUIRE(validated.size() == 1);
  CHECK(validated[0].kind == PathKind::kLan);
  CHECK(pair.a.best_path(kSession) == PunchPath{kSession, lan_b});
}

TEST_CASE("punch: candidates past the sixteenth and forbidden ones are refused", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  for (std::uint16_t port = 1; port <= kMaxCandidates; ++port) {
    const Candidate candidate{{kAddressB.ip, port}, CandidateType::kServerReflexive, {}};
    REQUIRE(pair.a.add_remote_candidate(pair.now, kSession, candidate) == CandidateVerdict::kAllowed);
  }
  const Candidate extra{{kAddressB.ip, 99}, CandidateType::kServerReflexive, {}};
  const Candidate known{{kAddressB.ip, 1}, CandidateType::kServerReflexive, {}};
  const Candidate loopback{*SocketAddress::parse("127.0.0.1:53"), CandidateType::kHost, {}};

  CHECK(pair.a.add_remote_candidate(pair.now, kSession, extra) == CandidateVerdict::kTooMany);
  CHECK(pair.a.add_remote_candidate(pair.now, kSession, known) == CandidateVerdict::kAllowed);
  CHECK(pair.a.add_remote_candidate(pair.now, kSession, loopback) == CandidateVerdict::kUnusable);
  CHECK(pair.a.stats().candidates_refused == 2);
}

TEST_CASE("punch: a candidate is held until the broker vouches for it", "[natt][punch]") {
  PunchPair pair;
  PunchSession session = pair.session(PunchRole::kControlling);
  session.vouch = {};
  REQUIRE(pair.a.add_session(pair.now, session));

  const Candidate candidate{kAddressB, CandidateType::kServerReflexive, {}};
  CHECK(pair.a.add_remote_candidate(pair.now, kSession, candidate) == CandidateVerdict::kNotVouched);
  CHECK_FALSE(pair.next(pair.a));
  pair.a.set_vouch(pair.now, kSession, {.seen = {kAddressB.ip}, .configured = {}});
  CHECK(pair.next(pair.a));
}

TEST_CASE("punch: restart checks anew and keeps validated paths", "[natt][punch]") {
  PunchPair pair;
  pair.connect();
  const SocketAddress second{kAddressB.ip, 40001};
  pair.tell(pair.a, second);
  PunchPair::drain(pair.a);
  pair.run_for(seconds(11));
  REQUIRE(PunchPair::events<PathValidated>(pair.a).size() == 1);
  PunchPair::drain(pair.a);

  pair.a.restart(pair.now, kSession);

  const auto check = pair.next(pair.a);
  REQUIRE(check);
  CHECK(check->to == second);
  CHECK_FALSE(pair.next(pair.a));
  CHECK(pair.a.is_validated(kPathToB));
}

TEST_CASE("punch: a removed session is silent and its peer a stranger", "[natt][punch]") {
  PunchPair pair;
  pair.connect();
  static_cast<void>(PunchPair::events<PathValidated>(pair.a));

  pair.a.remove_session(kSession);

  CHECK(pair.a.session_count() == 0);
  CHECK_FALSE(pair.a.next_deadline());
  pair.b.restart(pair.now, kSession);
  pair.b.probe_path(pair.now, kPathToA);
  const auto check = pair.next(pair.b);
  REQUIRE(check);
  CHECK(pair.deliver(pair.a, kAddressB, kAddressA, check->bytes));
  CHECK_FALSE(pair.next(pair.a));
  CHECK_FALSE(pair.a.poll_event());
  CHECK(pair.a.stats().dropped_unknown_username == 1);
}

TEST_CASE("punch: sessions are bounded, ids and ufrags are unique and well-formed", "[natt][punch]") {
  PunchPair pair({.max_sessions = 2});
  PunchSession session = pair.session(PunchRole::kControlling);
  REQUIRE(pair.a.add_session(pair.now, session));
  const auto refused = [&](const PunchSession& s, Errc code) {
    const auto result = pair.a.add_session(pair.now, s);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == code);
  };

  refused(session, Errc::kMalformed);
  session.id = {43};
  refused(session, Errc::kMalformed);  // the ufrag
  session.local.ufrag = "abc";
  refused(session, Errc::kMalformed);
  session.local.ufrag = "ab:cd";
  refused(session, Errc::kMalformed);
  session.local.ufrag.assign(33, 'x');
  refused(session, Errc::kMalformed);
  session.local.ufrag = "good";
  session.remote->ufrag = "\n\n\n\n";
  refused(session, Errc::kMalformed);
  session.remote->ufrag = "fine";
  REQUIRE(pair.a.add_session(pair.now, session));
  session.id = {44};
  session.local.ufrag = "more";
  refused(session, Errc::kLimit);
  CHECK_FALSE(pair.a.set_remote_credential(pair.now, {99}, pair.of_b));
}

TEST_CASE("punch: verbs for sessions and paths that are not there do nothing", "[natt][punch]") {
  PunchPair pair;
  const PunchPath nowhere{{1}, kAddressB};

  pair.a.remove_session({1});
  pair.a.restart(pair.now, {1});
  pair.a.set_vouch(pair.now, {1}, {});
  CHECK(pair.a.add_remote_candidate(pair.now, {1}, {kAddressB, CandidateType::kHost, {}}) !=
        CandidateVerdict::kAllowed);
  for (const PunchPath& path : {nowhere, kPathToB}) {
    pair.a.use_path(pair.now, path);
    pair.a.release_path(pair.now, path);
    pair.a.note_sent(pair.now, path);
    pair.a.note_received(pair.now, path);
    pair.a.probe_path(pair.now, path);
    CHECK_FALSE(pair.a.path_status(path));
    CHECK_FALSE(pair.a.is_validated(path));
    if (path == nowhere) pair.open_and_tell();  // the second round: a session whose path is not validated
  }
  CHECK_FALSE(pair.a.best_path({1}));
  CHECK_FALSE(pair.a.best_path(kSession));
  pair.a.handle_timeout(pair.now);
  CHECK_FALSE(pair.a.poll_event());
}

TEST_CASE("punch: an agent destroyed at any point of a session is gone quietly", "[natt][punch]") {
  for (int steps = 0; steps < 6; ++steps) {
    PunchPair pair;
    if (steps > 0) pair.open_and_tell();
    if (steps > 1) static_cast<void>(pair.next(pair.a));
    if (steps > 2) pair.pump();
    if (steps > 3) pair.a.use_path(pair.now, kPathToB);
    if (steps > 4) pair.run_for(seconds(40), false);
  }
  SUCCEED();
}

}  // namespace natt::test
