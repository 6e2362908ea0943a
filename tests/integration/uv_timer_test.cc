// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/timer.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "tests/integration/uv_loop.h"

using namespace natt;
using namespace std::chrono_literals;

namespace {

struct Recorder final : uv::Timer::Listener {
  std::vector<Instant> fired;
  std::function<void()> then;
  void on_timer(Instant now) override {
    fired.push_back(now);
    if (then) then();
  }
};

}  // namespace

TEST_CASE("timer: fires once, at its deadline and never before", "[natt][uv]") {
  test::UvLoop loop;
  Recorder recorder;
  uv::Timer timer(loop.get(), recorder);
  const Instant deadline = uv::now() + 12'345'678ns;

  timer.arm(deadline);
  CHECK(timer.armed());
  REQUIRE(loop.run_until([&] { return !recorder.fired.empty(); }));

  CHECK(recorder.fired[0] >= deadline);
  CHECK(recorder.fired[0] < deadline + 500ms);
  CHECK_FALSE(timer.armed());
  CHECK_FALSE(loop.run_until([&] { return recorder.fired.size() > 1; }, 20));
}

TEST_CASE("timer: a deadline in the past fires from the loop, not from arm", "[natt][uv]") {
  test::UvLoop loop;
  Recorder recorder;
  uv::Timer timer(loop.get(), recorder);

  timer.arm(Instant{});

  CHECK(recorder.fired.empty());
  CHECK(loop.run_until([&] { return !recorder.fired.empty(); }));
}

TEST_CASE("timer: arming again replaces the deadline, and nothing stops it", "[natt][uv]") {
  test::UvLoop loop;
  Recorder recorder;
  uv::Timer timer(loop.get(), recorder);

  timer.arm(uv::now() + 1h);
  timer.arm(uv::now() + 2ms);
  REQUIRE(loop.run_until([&] { return !recorder.fired.empty(); }));

  timer.arm(uv::now() + 2ms);
  timer.arm(std::nullopt);
  CHECK_FALSE(timer.armed());
  CHECK_FALSE(loop.run_until([&] { return recorder.fired.size() > 1; }, 20));
}

TEST_CASE("timer: one that is always overdue does not starve the rest of the loop", "[natt][uv]") {
  test::UvLoop loop;
  Recorder busy;
  uv::Timer timer(loop.get(), busy);
  busy.then = [&] { timer.arm(Instant{}); };

  timer.arm(Instant{});
  loop.run_turns(50);

  CHECK(busy.fired.size() <= 50);
}

TEST_CASE("timer: destroying it cancels it, also from inside its own callback", "[natt][uv]") {
  test::UvLoop loop;
  Recorder recorder;

  SECTION("armed") {
    auto timer = std::make_unique<uv::Timer>(loop.get(), recorder);
    timer->arm(uv::now() + 1ms);
    timer.reset();
    CHECK_FALSE(loop.run_until([&] { return !recorder.fired.empty(); }, 20));
  }
  SECTION("in the callback") {
    auto timer = std::make_unique<uv::Timer>(loop.get(), recorder);
    recorder.then = [&] { timer.reset(); };
    timer->arm(uv::now() + 1ms);
    CHECK(loop.run_until([&] { return timer == nullptr; }));
    CHECK(recorder.fired.size() == 1);
  }
}

TEST_CASE("clock: wall time is the calendar's and monotonic time goes forward", "[natt][uv]") {
  const WallTime year_2020{std::chrono::milliseconds(1'577'836'800'000)};
  const Instant first = uv::now();

  CHECK(uv::wall_now() > year_2020);
  CHECK(uv::now() >= first);
}
