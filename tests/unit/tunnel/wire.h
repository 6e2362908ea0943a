// SPDX-License-Identifier: Apache-2.0
#pragma once

// What stands between one tunnel server and its clients, in virtual time: what it carries is
// the derived wire's (packets or TCP connections). Nothing sleeps.

#include <functional>
#include <optional>

#include <natt/time.h>

namespace natt::test {

class Wire {
 public:
  struct Counters {
    std::uint64_t to_server = 0;
    std::uint64_t to_client = 0;
    std::uint64_t bytes_to_server = 0;
    std::uint64_t bytes_to_client = 0;
    std::uint64_t lost = 0;
    std::size_t largest = 0;
  };

  Wire() = default;
  virtual ~Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // Called after every step, with everything flushed before and after.
  std::function<void()> on_step;

  [[nodiscard]] Instant now() const { return now_; }
  // Takes what both ends have to send.
  virtual void flush() = 0;
  // True when `done` held before the time was over.
  bool run_for(Duration duration, const std::function<bool()>& done = nullptr);
  [[nodiscard]] const Counters& counters() const { return counters_; }

 protected:
  virtual void fire_timers() = 0;
  [[nodiscard]] virtual std::optional<Instant> next_event() const = 0;
  virtual void deliver_due() = 0;

  Instant now_{std::chrono::seconds(1000)};
  Counters counters_;
};

}  // namespace natt::test
