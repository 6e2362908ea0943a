// SPDX-License-Identifier: Apache-2.0
// Watching validated paths: consent, silence, standby.

#include <catch2/catch_test_macros.hpp>

#include "unit/natt/punch_pair.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Connected, and A sends its tunnel packets to B.
struct UsedPair : PunchPair {
  explicit UsedPair(PunchOptions options = {}) : PunchPair(options) {
    connect();
    static_cast<void>(events<PathValidated>(a));
    a.use_path(now, kPathToB);
    b.use_path(now, kPathToA);
  }
};

}  // namespace

TEST_CASE("punch: a used path is asked every 5 s within 20 percent", "[natt][punch]") {
  UsedPair pair;
  const std::uint64_t before = pair.a.stats().consent_sent;

  pair.run_for(std::chrono::minutes(10));

  const std::uint64_t asked = pair.a.stats().consent_sent - before;
  CHECK(asked >= 100);
  CHECK(asked <= 150);
  CHECK(pair.a.is_validated(kPathToB));
  CHECK(PunchPair::events<PathLost>(pair.a).empty());
}

TEST_CASE("punch: a standby path is kept open with fewer packets", "[natt][punch]") {
  PunchPair pair;
  pair.connect();
  const std::uint64_t before = pair.a.stats().consent_sent;

  pair.run_for(std::chrono::minutes(10));

  const std::uint64_t asked = pair.a.stats().consent_sent - before;
  CHECK(asked >= 40);
  CHECK(asked <= 65);
  CHECK(pair.a.is_validated(kPathToB));
}

TEST_CASE("punch: a path that is sent on and not heard from is silent after a second", "[natt][punch]") {
  UsedPair pair;
  pair.run_for(milliseconds(500));
  const Instant sent = pair.now;

  pair.a.note_sent(pair.now, kPathToB);
  pair.run_for(milliseconds(999), false);
  CHECK(PunchPair::events<PathSilent>(pair.a).empty());
  CHECK(pair.lost >= 2);  // it asked
  pair.run_for(milliseconds(1), false);

  const auto silent = PunchPair::events<PathSilent>(pair.a);
  REQUIRE(silent.size() == 1);
  CHECK(pair.now == sent + seconds(1));
  CHECK(silent[0].path == kPathToB);
  CHECK(silent[0].last_heard <= sent);
  CHECK(pair.a.path_status(kPathToB)->silent);
  CHECK_FALSE(pair.a.best_path(kSession));
}

TEST_CASE("punch: an idle path's death shows at the next consent check", "[natt][punch]") {
  UsedPair pair;

  pair.run_for(seconds(7) + milliseconds(100), false);  // 5 s + 20 % + 1 s

  CHECK(PunchPair::events<PathSilent>(pair.a).size() == 1);
}

TEST_CASE("punch: tunnel packets from the peer keep a path alive without checks", "[natt][punch]") {
  UsedPair pair;
  for (int i = 0; i < 100; ++i) {
    pair.a.note_sent(pair.now, kPathToB);
    pair.run_for(milliseconds(20));
    pair.a.note_received(pair.now, kPathToB);
  }

  CHECK(PunchPair::events<PathSilent>(pair.a).empty());
  CHECK(pair.a.stats().consent_sent == 0);
  CHECK(pair.a.path_status(kPathToB)->last_heard == pair.now);
}

TEST_CASE("punch: a silent path that answers again has recovered", "[natt][punch]") {
  UsedPair pair;
  pair.a.note_sent(pair.now, kPathToB);
  pair.run_for(seconds(3), false);
  REQUIRE(PunchPair::events<PathSilent>(pair.a).size() == 1);

  SECTION("by an answered check") { pair.run_for(seconds(6)); }
  SECTION("by tunnel packets") { pair.a.note_received(pair.now, kPathToB); }

  const auto recovered = PunchPair::events<PathRecovered>(pair.a);
  REQUIRE(recovered.size() == 1);
  CHECK(recovered[0].path == kPathToB);
  CHECK(pair.a.best_path(kSession) == kPathToB);
}

TEST_CASE("punch: consent expires 30 s after the last answer, whatever else was heard", "[natt][punch]") {
  UsedPair pair;
  const Instant answered = pair.now;

  // The peer's tunnel packets arrive, its answers do not.
  std::vector<PathLost> lost;
  while (lost.empty() && pair.now < answered + seconds(60)) {
    pair.run_for(milliseconds(100), false);
    pair.a.note_received(pair.now, kPathToB);
    lost = PunchPair::events<PathLost>(pair.a);
  }

  REQUIRE(lost.size() == 1);
  CHECK(pair.now - answered >= seconds(30));
  CHECK(pair.now - answered <= seconds(30) + milliseconds(100));
  CHECK_FALSE(pair.a.is_validated(kPathToB));
  CHECK_FALSE(pair.a.path_status(kPathToB));
}

TEST_CASE("punch: a dead peer costs few packets before it is given up", "[natt][punch]") {
  UsedPair pair;
  pair.b.remove_session(kSession);

  const std::uint64_t before = pair.a.stats().consent_sent;
  pair.run_for(std::chrono::minutes(5), false);

  CHECK(PunchPair::events<PathLost>(pair.a).size() == 1);
  CHECK(pair.a.stats().consent_sent - before <= 15);
  CHECK_FALSE(pair.a.next_deadline());
}

TEST_CASE("punch: a lost path comes back when the peer calls", "[natt][punch]") {
  UsedPair pair;
  pair.run_for(seconds(40), false);
  REQUIRE_FALSE(pair.a.is_validated(kPathToB));
  REQUIRE_FALSE(pair.b.is_validated(kPathToA));

  pair.b.restart(pair.now, kSession);
  pair.pump();

  CHECK(pair.a.is_validated(kPathToB));
  CHECK(pair.b.is_validated(kPathToA));
}

TEST_CASE("punch: probing a path asks at once", "[natt][punch]") {
  UsedPair pair;

  pair.a.probe_path(pair.now, kPathToB);

  const auto check = pair.next(pair.a);
  REQUIRE(check);
  CHECK(check->to == kAddressB);
  CHECK(check->from == kAddressA.ip);  // from where the answers arrive
}

TEST_CASE("punch: path status measures RTT and loss", "[natt][punch]") {
  UsedPair pair;
  CHECK(pair.a.path_status(kPathToB)->in_use);
  CHECK(pair.a.path_status(kPathToB)->loss == 0);

  pair.run_for(seconds(10), false);
  CHECK(pair.a.path_status(kPathToB)->loss > 0.2);
  pair.run_for(std::chrono::minutes(3));
  CHECK(pair.a.path_status(kPathToB)->loss < 0.05);
  pair.a.release_path(pair.now, kPathToB);
  CHECK_FALSE(pair.a.path_status(kPathToB)->in_use);
}

}  // namespace natt::test
