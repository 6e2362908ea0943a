// SPDX-License-Identifier: Apache-2.0
#pragma once

// One remote candidate of a session, seen from our one socket: what RFC 8445 calls a
// candidate pair. Tried until it is validated or its tries are over, then watched.
//
//            start/trigger              answered
//   Resting ---------------> Trying ---------------> Validated
//      ^                       | tries over              | consent expired
//      +-----------------------+-------------------------+
//
// Value type, owned by its session.

#include <array>
#include <cstdint>
#include <optional>

#include <natt/candidate.h>
#include <natt/time.h>

#include "src/punch/check_schedule.h"
#include "src/punch/path_liveness.h"

namespace natt {

struct CandidatePair {
  // Waiting checks per pair: with 2 s of RTT the schedule has 7 under way.
  static constexpr std::size_t kMaxWaiting = 8;

  enum class State : std::uint8_t { kResting, kTrying, kValidated };

  CandidatePair(const Candidate& candidate, const CheckSchedule::Options& options)
      : remote(candidate), schedule(options) {}

  [[nodiscard]] State state() const {
    if (liveness) return State::kValidated;
    return schedule.resting() ? State::kResting : State::kTrying;
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const {
    return liveness ? liveness->next_deadline() : schedule.next();
  }
  // Returns the nonce that has to be forgotten to make room.
  [[nodiscard]] std::optional<std::uint32_t> remember(std::uint32_t nonce) {
    const auto evicted = waiting[next_waiting];
    waiting[next_waiting] = nonce;
    next_waiting = (next_waiting + 1) % kMaxWaiting;
    return evicted;
  }

  Candidate remote;
  CheckSchedule schedule;
  std::optional<PathLiveness> liveness;  // engaged while validated
  IpAddress local;                       // where the peer's packets arrive; unspecified until one did
  SocketAddress mapped;
  std::array<std::optional<std::uint32_t>, kMaxWaiting> waiting;
  std::size_t next_waiting = 0;
};

}  // namespace natt
