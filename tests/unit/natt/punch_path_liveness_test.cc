// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include "libnatt/src/punch/path_liveness.h"
#include "support/seeded_random.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr PathLiveness::Options kOptions{.consent_interval = seconds(5),
                                         .consent_timeout = seconds(30),
                                         .standby_interval = seconds(12),
                                         .silent_probe_after = milliseconds(400),
                                         .silent_probe_interval = milliseconds(250),
                                         .silent_after = seconds(1),
                                         .backoff = 1.5};

struct Path {
  explicit Path(Duration rtt = milliseconds(20)) {
    liveness.answered(now, rtt, random);
    liveness.use(now, random);
  }
  SeededRandom random{test_seed()};
  Instant now{seconds(100)};
  PathLiveness liveness{kOptions};
};

}  // namespace

TEST_CASE("liveness: pauses are 5 s within 20 percent, and spread", "[natt][punch]") {
  Path path;
  Duration shortest = seconds(100);
  Duration longest{};
  for (int i = 0; i < 1000; ++i) {
    path.liveness.answered(path.now, milliseconds(20), path.random);
    const Duration pause = path.liveness.next_check() - path.now;
    shortest = std::min(shortest, pause);
    longest = std::max(longest, pause);
  }

  CHECK(shortest >= seconds(4));
  CHECK(longest <= seconds(6));
  CHECK(longest - shortest > milliseconds(1500));
}

TEST_CASE("liveness: a long RTT is not silence", "[natt][punch]") {
  Path path(milliseconds(800));
  path.liveness.sent(path.now);

  CHECK(path.liveness.handle_timeout(path.now + milliseconds(2399)) == PathLiveness::Change::kNone);
  CHECK(path.liveness.handle_timeout(path.now + milliseconds(2400)) == PathLiveness::Change::kSilent);
}

TEST_CASE("liveness: silence is reported once", "[natt][punch]") {
  Path path;
  path.liveness.sent(path.now);

  CHECK(path.liveness.handle_timeout(path.now + seconds(1)) == PathLiveness::Change::kSilent);
  CHECK(path.liveness.handle_timeout(path.now + seconds(2)) == PathLiveness::Change::kNone);
  CHECK(path.liveness.heard(path.now + seconds(3)));
  CHECK_FALSE(path.liveness.heard(path.now + seconds(3)));
}

TEST_CASE("liveness: a path that is not used is never silent", "[natt][punch]") {
  Path path;
  path.liveness.release(path.now, path.random);
  path.liveness.sent(path.now);
  path.liveness.check_sent(path.now, path.random);

  CHECK(path.liveness.handle_timeout(path.now + seconds(29)) == PathLiveness::Change::kNone);
  CHECK(path.liveness.handle_timeout(path.now + seconds(30)) == PathLiveness::Change::kLost);
}

TEST_CASE("liveness: unanswered checks come quickly at first and then back off", "[natt][punch]") {
  Path path;
  std::vector<Duration> pauses;
  for (int i = 0; i < 10; ++i) {
    path.liveness.check_sent(path.now, path.random);
    pauses.push_back(path.liveness.next_check() - path.now);
    path.now = path.liveness.next_check();
  }

  CHECK(pauses.front() == milliseconds(250));
  CHECK(pauses[1] == milliseconds(375));
  CHECK(pauses.back() >= seconds(4));
  CHECK(pauses.back() <= seconds(6));
}

TEST_CASE("liveness: the deadline is the earliest of check, silence and consent", "[natt][punch]") {
  Path path;
  CHECK(path.liveness.next_deadline() == path.liveness.next_check());
  path.liveness.sent(path.now);
  CHECK(path.liveness.next_deadline() == path.now + milliseconds(400));
  path.liveness.check_sent(path.now, path.random);
  path.liveness.defer_check(path.now + seconds(60));
  CHECK(path.liveness.next_deadline() == path.now + seconds(1));
  path.liveness.heard(path.now);
  CHECK(path.liveness.next_deadline() == path.now + seconds(30));
}

TEST_CASE("liveness: RTT is smoothed as RFC 6298 says", "[natt][punch]") {
  Path path(milliseconds(80));
  path.liveness.answered(path.now, milliseconds(160), path.random);

  CHECK(path.liveness.rtt() == milliseconds(160));
  CHECK(path.liveness.smoothed_rtt() == milliseconds(90));
}

}  // namespace natt::test
