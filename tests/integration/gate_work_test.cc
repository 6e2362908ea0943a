// SPDX-License-Identifier: Apache-2.0
// What a kernel gate gives to another thread, and when it is flushed again.
#include <natt/uv/gate_work.h>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

#include "tests/integration/uv_loop.h"
#include "tests/support/idle_gate.h"

using namespace natt;

namespace {

// Asks for one run elsewhere and two more flushes after it.
class GrowingGate final : public test::IdleGate {
 public:
  void flush() override {
    ++flushes;
    if (has_work()) ++pieces;
  }
  std::function<void()> take_work() override {
    if (taken) return nullptr;
    taken = true;
    return [this] {
      while (!may_end) std::this_thread::yield();
      worker = std::this_thread::get_id();
      made = true;
    };
  }
  [[nodiscard]] bool has_work() const override { return made && pieces < 2; }

  int flushes = 0;
  int pieces = 0;
  bool taken = false;
  std::atomic<bool> may_end = true;
  std::atomic<bool> made = false;
  std::thread::id worker;
};

constexpr Instant kNow{std::chrono::hours(1)};

}  // namespace

TEST_CASE("gate work: what takes long runs in another thread, and then the gate is flushed until it is done",
          "[uv][gate_work]") {
  test::UvLoop loop;
  GrowingGate gate;
  gate.may_end = false;  // or a quick thread would have made it before the second flush
  int woken = 0;
  uv::GateWork work(loop.get(), &gate, [&] { ++woken; });

  work.flush();
  CHECK(woken == 0);
  work.flush();  // asks for it once
  CHECK(gate.pieces == 0);
  gate.may_end = true;
  REQUIRE(loop.run_until([&] { return woken == 1; }));
  CHECK(gate.worker != std::this_thread::get_id());
  CHECK(work.next_deadline(kNow) == kNow);
  work.flush();
  CHECK(work.next_deadline(kNow) == kNow);
  work.flush();
  CHECK_FALSE(work.next_deadline(kNow));
  CHECK(woken == 1);
}

TEST_CASE("gate work: without a gate there is nothing to do", "[uv][gate_work]") {
  test::UvLoop loop;
  uv::GateWork work(loop.get(), nullptr, [] { FAIL("woken"); });
  work.flush();
  CHECK_FALSE(work.next_deadline(kNow));
}

TEST_CASE("gate work: it may go while the gate's work runs, and waits for it", "[uv][gate_work]") {
  test::UvLoop loop;
  GrowingGate gate;
  {
    uv::GateWork work(loop.get(), &gate, [] { FAIL("woken"); });
    work.flush();
    while (!gate.made) std::this_thread::yield();
  }
  loop.run_turns();
}
