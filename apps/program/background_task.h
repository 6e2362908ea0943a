// SPDX-License-Identifier: Apache-2.0
#pragma once

// Work that would stop the loop (a large file to read, verify or write), in libuv's thread
// pool; what it found is taken in the loop's thread. Resource type on the loop; one task at
// a time, of those given meanwhile the last one waits. The destructor waits for a task that
// runs; after it neither function is called.

#include <functional>

struct uv_loop_s;

namespace natt::program {

class BackgroundTask {
 public:
  explicit BackgroundTask(uv_loop_s& loop);
  ~BackgroundTask();
  BackgroundTask(const BackgroundTask&) = delete;
  BackgroundTask& operator=(const BackgroundTask&) = delete;

  // `work` runs in another thread and touches what it holds by value only; `done` in the loop's.
  void start(std::function<void()> work, std::function<void()> done);

 private:
  struct Block;
  Block* block_;  // freed by the loop after the last task
};

// For work whose end nobody waits for; what it holds is freed in its thread.
void run_in_background(uv_loop_s& loop, std::function<void()> work);

}  // namespace natt::program
