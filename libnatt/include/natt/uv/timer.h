// SPDX-License-Identifier: Apache-2.0
#pragma once

// Clocks and the one timer that a driver needs. The only place of the libraries
// that reads a clock; cores get what these return as arguments.
//
//   void MyDriver::flush() {            // after every input
//     drain_transmits();
//     timer_.arm(core_.next_deadline());
//     deliver_events();                 // last: they may destroy this driver
//   }
//
// Resource type on the embedder's loop and its thread. After the destructor has
// returned no callback runs; the loop has to run once more to give the memory back.

#include <memory>
#include <optional>

#include <natt/time.h>

struct uv_loop_s;

namespace natt::uv {

// Monotonic, nanoseconds (uv_hrtime). Read once per callback and pass it down.
[[nodiscard]] Instant now();
// The system's calendar time.
[[nodiscard]] WallTime wall_now();

class Timer {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The armed deadline has come (never early); the timer is no longer armed.
    // May arm, stop or destroy the timer.
    virtual void on_timer(Instant now) = 0;
  };

  // `loop` and `listener` outlive the timer.
  Timer(uv_loop_s& loop, Listener& listener);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Replaces the deadline; absent stops. A deadline in the past fires in the next
  // turn of the loop, never from inside this call. Resolution is the loop's 1 ms.
  void arm(std::optional<Instant> deadline);
  [[nodiscard]] bool armed() const;

 private:
  struct Block;
  Block* block_;  // freed by the loop after close
};

}  // namespace natt::uv
