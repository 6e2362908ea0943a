// SPDX-License-Identifier: Apache-2.0
// What a verifier is told when somebody sets the host's clock, in virtual time.
#include "libspa/src/steady_wall_clock.h"

#include <natt/spa/host_clock.h>

#include <catch2/catch_test_macros.hpp>

#include <tests/support/seeded_random.h>

#include "host_clock_double.h"

using namespace natt;
using spa::SteadyWallClock;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::HostClockDouble;

namespace {

const WallTime kStart{seconds(64 * 27'600'000)};

// A steady clock over a host whose clocks the test moves.
struct Followed {
  explicit Followed(const HostClockDouble& of) : host(of) {}
  WallTime now() { return clock.follow(Instant(host.time.boot), host.time.wall); }
  [[nodiscard]] std::uint64_t steps_back() const { return clock.steps_back(); }
  const HostClockDouble& host;
  SteadyWallClock clock;
};

}  // namespace

TEST_CASE("spa wall clock: runs with the time since boot", "[spa][wall_clock]") {
  HostClockDouble host(kStart);
  Followed clock(host);
  CHECK(clock.now() == host.time.wall);
  CHECK(clock.now() == kStart);
  host.pass(hours(24 * 365));

  CHECK(clock.now() == kStart + hours(24 * 365));
  CHECK(clock.steps_back() == 0);
}

TEST_CASE("spa wall clock: counts the time that the host was suspended", "[spa][wall_clock]") {
  HostClockDouble host(kStart);
  Followed clock(host);
  CHECK(clock.now() == host.time.wall);
  // The calendar goes on; the monotonic clock stands still.
  host.set(host.time.wall + hours(8));

  CHECK(clock.now() == kStart + hours(8));
}

TEST_CASE("spa wall clock: follows steps forward at once", "[spa][wall_clock]") {
  for (const milliseconds step : {milliseconds(6), milliseconds(1000), milliseconds(2001), milliseconds(3'600'000),
                                  milliseconds(hours(24 * 3650))}) {
    CAPTURE(step.count());
    HostClockDouble host(kStart);
    Followed clock(host);
  CHECK(clock.now() == host.time.wall);
    host.pass(seconds(5));
    host.set(host.time.wall + step);

    CHECK(clock.now() == kStart + seconds(5) + step);
    CHECK(clock.steps_back() == 0);
  }
}

TEST_CASE("spa wall clock: follows large steps back at once and says so", "[spa][wall_clock]") {
  for (const milliseconds step : {milliseconds(2001), milliseconds(3'600'000), milliseconds(hours(24 * 3650))}) {
    CAPTURE(step.count());
    HostClockDouble host(kStart);
    Followed clock(host);
  CHECK(clock.now() == host.time.wall);
    host.pass(seconds(5));
    host.set(host.time.wall - step);

    CHECK(clock.now() == kStart + seconds(5) - step);
    CHECK(clock.steps_back() == 1);
    CHECK(clock.now() == kStart + seconds(5) - step);
    CHECK(clock.steps_back() == 1);
  }
}

TEST_CASE("spa wall clock: a leap second is run down and never goes back", "[spa][wall_clock]") {
  HostClockDouble host(kStart);
  Followed clock(host);
  CHECK(clock.now() == host.time.wall);
  host.pass(seconds(10));
  WallTime last = clock.now();
  host.set(host.time.wall - seconds(1));

  int behind = 0;
  for (int i = 0; i < 2000; ++i) {
    host.pass(milliseconds(100));
    const WallTime now = clock.now();
    REQUIRE(now >= last);
    REQUIRE(now >= host.time.wall);
    REQUIRE(now - host.time.wall <= seconds(1));
    behind += now > host.time.wall ? 1 : 0;
    last = now;
  }
  // 1 % slow: a second takes a hundred.
  CHECK(behind >= 990);
  CHECK(behind <= 1010);
  CHECK(clock.now() == host.time.wall);
  CHECK(clock.steps_back() == 0);
}

TEST_CASE("spa wall clock: slewing moves both clocks and is no step", "[spa][wall_clock]") {
  HostClockDouble host(kStart);
  Followed clock(host);
  CHECK(clock.now() == host.time.wall);
  // 500 ppm for a day, as the kernel does it: the time since boot is slewed too; reading them is not simultaneous.
  for (int second = 0; second < 86'400; ++second) {
    const Duration passed = second * std::chrono::microseconds(1'000'500);
    const WallTime exact = kStart + std::chrono::duration_cast<milliseconds>(passed);
    host.time = {exact + milliseconds(second % 3 - 1), hours(1) + passed};
    REQUIRE(std::chrono::abs(clock.now() - exact) <= milliseconds(5));
  }
  CHECK(clock.steps_back() == 0);
}

TEST_CASE("spa wall clock: goes back only with a large step, whatever happens", "[spa][wall_clock]") {
  test::SeededRandom random{test::test_seed()};
  HostClockDouble host(kStart + hours(24 * 365 * 20));
  Followed clock(host);
  CHECK(clock.now() == host.time.wall);
  WallTime last = clock.now();
  for (int i = 0; i < 100'000; ++i) {
    host.pass(milliseconds(random.uniform(500)));
    if (random.uniform(10) == 0) host.set(host.time.wall + milliseconds(random.uniform(3000)) - milliseconds(1500));
    if (random.uniform(500) == 0) host.set(host.time.wall + seconds(random.uniform(7200)) - seconds(3600));
    const std::uint64_t steps = clock.steps_back();
    const WallTime now = clock.now();
    if (clock.steps_back() == steps) REQUIRE(now >= last);
    REQUIRE(now >= host.time.wall - milliseconds(6));
    REQUIRE(now - host.time.wall <= SteadyWallClock::kAbsorbed);
    last = now;
  }
  CHECK(clock.steps_back() > 0);
}

TEST_CASE("spa host clock: its two clocks run, and together", "[spa][wall_clock]") {
  const spa::SystemHostClock host;
  const spa::HostTime first = host.read();
  const spa::HostTime second = host.read();

  CHECK(second.boot >= first.boot);
  CHECK(first.boot > Duration(0));
  CHECK(std::chrono::abs((second.wall - first.wall) - (second.boot - first.boot)) < milliseconds(50));
  CHECK(std::chrono::abs(host.coarse_wall() - second.wall) < milliseconds(50));
}
