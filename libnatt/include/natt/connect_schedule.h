// SPDX-License-Identifier: Apache-2.0
#pragma once

// When to try which kind of TCP connection to a listener that may hide: SYNs that carry
// the SPA hello (T-SYN), new sockets because a retransmitted SYN carries no data, and one
// plain SYN for the way through boxes that drop SYNs with data. The first connection wins.
//
// Sans-I/O. Resource type, one thread.
//
//   schedule.start(now);
//   then, and after handle_timeout(now) at next_deadline() or handle_failed(...):
//     while (auto end = schedule.poll_abandoned()) close(*end);
//     while (auto attempt = schedule.poll_attempt()) open(*attempt);
//     if (schedule.is_lost()) ...

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include <natt/time.h>

namespace natt {

class ConnectSchedule {
 public:
  enum class Kind : std::uint8_t { kInSyn, kPlain };
  struct Attempt {
    std::size_t number = 0;
    Kind kind = Kind::kInSyn;
  };
  enum class Failure : std::uint8_t {
    kRefused,  // RST
    kOther,
  };

  struct Step {
    Duration at;
    Kind kind;
  };
  // SPA.md 1.4 names six SYNs, to 1600 ms. At 30 % loss each way they connect 99.6 % within three seconds on a real
  // link, these eleven more than 99.9 % (tests/long/spa_timing.py; door_test.cc has the model).
  static constexpr std::array<Step, 12> kSteps{{{std::chrono::milliseconds(0), Kind::kInSyn},
                                                {std::chrono::milliseconds(100), Kind::kInSyn},
                                                {std::chrono::milliseconds(200), Kind::kInSyn},
                                                {std::chrono::milliseconds(300), Kind::kPlain},
                                                {std::chrono::milliseconds(400), Kind::kInSyn},
                                                {std::chrono::milliseconds(600), Kind::kInSyn},
                                                {std::chrono::milliseconds(800), Kind::kInSyn},
                                                {std::chrono::milliseconds(1100), Kind::kInSyn},
                                                {std::chrono::milliseconds(1400), Kind::kInSyn},
                                                {std::chrono::milliseconds(1700), Kind::kInSyn},
                                                {std::chrono::milliseconds(2000), Kind::kInSyn},
                                                {std::chrono::milliseconds(2300), Kind::kInSyn}}};
  // Kernel retransmissions of a SYN come after 1 s and 3 s (RFC 6298 section 2); before the second one times out
  // the socket has to go: Linux then blames the path and may stop sending data in SYNs, host-wide
  // (net.ipv4.tcp_fastopen_blackhole_timeout_sec).
  static constexpr Duration kAttemptTime = std::chrono::milliseconds(2500);

  ConnectSchedule() = default;
  ConnectSchedule(const ConnectSchedule&) = delete;
  ConnectSchedule& operator=(const ConnectSchedule&) = delete;

  void start(Instant now);
  // A connection won, or nobody wants one any more.
  void stop();
  // The attempt is over. Both kinds refused means that nothing listens: the rest is not tried.
  void handle_failed(std::size_t number, Failure failure);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Attempt> poll_attempt();
  // An attempt that has had its time: to be closed; no handle_failed for it.
  [[nodiscard]] std::optional<std::size_t> poll_abandoned();
  // Every attempt has failed.
  [[nodiscard]] bool is_lost() const { return state_ == State::kLost; }

 private:
  //  kIdle -> kRunning -> kLost     stop(): -> kIdle
  enum class State : std::uint8_t { kIdle, kRunning, kLost };
  enum class Stage : std::uint8_t { kWaiting, kDue, kOpen, kAbandoned, kOver };
  void look_for_end();

  State state_ = State::kIdle;
  Instant started_{};
  std::array<Stage, kSteps.size()> stages_{};
  std::array<bool, 2> refused_{};  // by Kind
};

}  // namespace natt
