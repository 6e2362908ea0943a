// SPDX-License-Identifier: Apache-2.0
#pragma once

// A libuv loop for one test: runs until something is true, and at the end checks
// that every handle was closed.

#include <uv.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>

namespace natt::test {

class UvLoop {
 public:
  UvLoop() {
    REQUIRE(uv_loop_init(&loop_) == 0);
    uv_timer_init(&loop_, &limit_);
    limit_.data = &late_;
  }
  ~UvLoop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&limit_), nullptr);
    while (uv_run(&loop_, UV_RUN_NOWAIT) != 0) {
    }
    CHECK(uv_loop_close(&loop_) == 0);
  }
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  [[nodiscard]] uv_loop_t& get() { return loop_; }

  // False when `done` is still false after `milliseconds`: by default what a loaded machine does not need, either.
  [[nodiscard]] bool run_until(const std::function<bool()>& done, std::uint64_t milliseconds = 10'000) {
    late_ = false;
    uv_update_time(&loop_);
    uv_timer_start(&limit_, on_limit, milliseconds, 0);
    while (!done() && !late_) uv_run(&loop_, UV_RUN_ONCE);
    uv_timer_stop(&limit_);
    return done();
  }

  // Lets happen what is under way.
  void run_turns(int turns = 3) {
    for (int i = 0; i < turns; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  }

 private:
  static void on_limit(uv_timer_t* timer) { *static_cast<bool*>(timer->data) = true; }

  uv_loop_t loop_{};
  uv_timer_t limit_{};
  bool late_ = false;
};

}  // namespace natt::test
