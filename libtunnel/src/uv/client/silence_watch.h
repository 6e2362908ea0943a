// SPDX-License-Identifier: Apache-2.0
#pragma once

// Notices that a tunnel sends and hears nothing: QUIC alone would go on probing a dead path
// until its idle time-out, and TCP until its retransmissions give up. Sans-I/O value type.

#include <chrono>

#include <natt/time.h>
#include <natt/tunnel/streams.h>

namespace natt::tunnel::uv {

class SilenceWatch {
 public:
  // Two keepalives of 14 s, each with the probes that follow a loss.
  static constexpr Duration kSilence = std::chrono::seconds(30);

  // True: what was sent has been without an answer for too long.
  [[nodiscard]] bool is_dead(Instant now, const ConnectionStats& stats);
  // There is a reason why no answer came: the time starts anew.
  void excuse(Instant now) { unanswered_since_ = now; }
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  std::uint64_t packets_in_ = 0;
  std::uint64_t packets_out_ = 0;
  std::optional<Instant> unanswered_since_;
};

}  // namespace natt::tunnel::uv
