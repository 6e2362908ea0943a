// SPDX-License-Identifier: Apache-2.0
#pragma once

// Flushes a kernel gate, and gives what takes it long (KernelGate::take_work()) to libuv's
// thread pool. Resource type on the loop's thread; loop and gate outlive it. The destructor
// waits for work that runs.

#include <functional>
#include <optional>

#include <natt/spa/kernel_gate.h>
#include <natt/time.h>
#include <natt/uv/background_task.h>

namespace natt::uv {

class GateWork {
 public:
  // `gate` may be null. `made` is called when flush() has more to do.
  GateWork(uv_loop_s& loop, spa::KernelGate* gate, std::function<void()> made);
  GateWork(const GateWork&) = delete;
  GateWork& operator=(const GateWork&) = delete;

  void flush();
  // Of the next flush() that the gate itself asks for.
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;

 private:
  spa::KernelGate* gate_;
  std::function<void()> made_;
  BackgroundTask task_;
};

}  // namespace natt::uv
