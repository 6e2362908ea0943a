// SPDX-License-Identifier: Apache-2.0
#pragma once

// Work that would stop the loop (a large file to read, verify or write), in libuv's thread
// pool; what it found is taken in the loop's thread. Resource type on the loop; one task at
// a time, of those given meanwhile the last one waits. The destructor waits for a task that
// runs; after it neither function is called.

#include <functional>

struct uv_loop_s;

namespace natt::uv {

class BackgroundTask {
 public:
  explicit BackgroundTask(uv_loop_s& loop);
  ~BackgroundTask();
  BackgroundTask(const BackgroundTask&) = delete;
  BackgroundTask& operator=(const BackgroundTask&) = delete;

  // `work` runs in another thread and touches what it holds by value only, or what nobody else touches until `done`,
  // which runs in the loop's; `done` may start the next task and may not destroy this one.
  void start(std::function<void()> work, std::function<void()> done);
  // From start() until `done` is called.
  [[nodiscard]] bool busy() const;
  // Waits until no `work` runs; `done` is still to come.
  void settle();

 private:
  struct Block;
  Block* block_;  // freed by the loop after the last task
};

// For work whose end nobody waits for; what it holds is freed in its thread.
void run_in_background(uv_loop_s& loop, std::function<void()> work);

}  // namespace natt::uv
