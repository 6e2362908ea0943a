// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether a device's newest roster is where its next start finds it. Brokers hear of a
// roster only then (RosterAck), and a write that failed is tried again. Value type.

#include <optional>

#include <natt/time.h>

namespace natt {

class RosterOnDisk {
 public:
  // A disk that was full may have space again; each try is a log line.
  static constexpr Duration kRetry = std::chrono::seconds(10);

  explicit RosterOnDisk(Duration retry = kRetry) : retry_(retry) {}

  // What came of writing the newest roster.
  void note_write(Instant now, bool written) {
    write_at_ = written ? std::nullopt : std::optional(now + retry_);
  }
  // It may be acknowledged.
  [[nodiscard]] bool is_written() const { return !write_at_; }
  [[nodiscard]] bool is_due(Instant now) const { return write_at_ && now >= *write_at_; }
  // Of the next try.
  [[nodiscard]] std::optional<Instant> next_deadline() const { return write_at_; }

 private:
  Duration retry_;
  std::optional<Instant> write_at_;  // absent: written
};

}  // namespace natt
