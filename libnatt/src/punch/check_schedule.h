// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a pair that was not answered yet is checked: at once, then with growing
// pauses until its tries are over. Value type.

#include <optional>

#include <natt/time.h>

namespace natt {

class CheckSchedule {
 public:
  struct Options {
    Duration first_interval;
    double backoff;
    Duration max_interval;
    Duration try_for;
  };

  explicit CheckSchedule(const Options& options) : options_(options) {}

  // From the beginning, first check at `at`.
  void start(Instant at);
  // The peer called: check now, and go on from the beginning. At most once per kMinTriggerGap, so that two ends
  // that cannot hear each other's answers do not drive each other.
  void trigger(Instant now);
  void sent(Instant now);
  // Could not be sent before `until` (the budget says so); the try is not lost.
  void defer(Instant until);
  void rest() { next_.reset(); }

  [[nodiscard]] std::optional<Instant> next() const { return next_; }
  [[nodiscard]] bool resting() const { return !next_.has_value(); }

 private:
  static constexpr Duration kMinTriggerGap = std::chrono::milliseconds(50);

  Options options_;
  std::optional<Instant> next_;
  std::optional<Instant> last_sent_;
  Instant give_up_{};
  Duration interval_{};
};

}  // namespace natt
