// SPDX-License-Identifier: Apache-2.0
#pragma once

// The right to join a session that a broker relays over TCP, held until the race's relay
// step starts: says when to ask, and asks again shortly before a grant runs out, so that at
// its time the step has nothing left to ask. Sans-I/O value type.
//
//   start() -> wants_asking() -> note_asked() -> handle_grant() -> take()
//                  '-- 2 s before the grant ends, or 3 s without an answer --'

#include <chrono>
#include <optional>

#include <natt/signal_message.h>
#include <natt/time.h>

namespace natt::tunnel::uv {

class RelayTicket {
 public:
  // A grant is good for at least this, whatever the clocks say.
  static constexpr Duration kShortest = std::chrono::seconds(3);
  // Before the end: a question and its answer over a bad satellite link, and the way of the join.
  static constexpr Duration kAhead = std::chrono::seconds(2);
  static constexpr Duration kNoAnswer = std::chrono::seconds(3);
  // For one session; a race of 20 s needs three where every answer comes. Then the grant at hand is the last.
  static constexpr int kMaxAsked = 8;

  // A new session; the first question is due.
  void start(Instant now);
  void stop();

  [[nodiscard]] bool wants_asking(Instant now) const { return ask_at_ && now >= *ask_at_; }
  void note_asked(Instant now);
  void handle_grant(Instant now, WallTime wall_now, const RelayGrantMessage& grant);
  // The broker will not grant any more.
  void handle_refusal();

  [[nodiscard]] bool is_valid(Instant now) const { return grant_ && now < valid_until_; }
  // The step starts: no further questions. Absent when there is no valid one.
  [[nodiscard]] std::optional<RelayGrantMessage> take(Instant now);

  // When to ask, or when the grant ends.
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;

 private:
  std::optional<RelayGrantMessage> grant_;
  Instant valid_until_{};
  std::optional<Instant> ask_at_;
  int asked_ = 0;  // 0: no grant is expected
};

}  // namespace natt::tunnel::uv
