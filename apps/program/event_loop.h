// SPDX-License-Identifier: Apache-2.0
#pragma once

// The loop of a program and the signals that steer it: SIGTERM and SIGINT end it (a second
// one at once), SIGHUP reloads. SIGPIPE is ignored: a peer that has gone is an error code.
//
// Resource type; one per program. Everything on the loop is destroyed before it.

#include <uv.h>

#include <array>

#include <natt/time.h>

namespace natt::program {

class EventLoop {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Finish what is under way and stop() the loop; called once.
    virtual void on_terminate(Instant now) = 0;
    virtual void on_reload(Instant now) = 0;
  };

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop().
  void run(Listener& listener);
  void stop();
  // Lets libuv finish closing what has been destroyed.
  void settle();
  [[nodiscard]] uv_loop_t& native() { return loop_; }

 private:
  static void on_signal(uv_signal_t* handle, int number) noexcept;

  uv_loop_t loop_{};
  std::array<uv_signal_t, 3> signals_{};
  Listener* listener_ = nullptr;
  bool terminating_ = false;
};

}  // namespace natt::program
