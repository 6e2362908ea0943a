// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bounds what a peer can make this end work with frames that carry nothing: PING, SETTINGS,
// PRIORITY, WINDOW_UPDATE, empty DATA (CVE-2019-9512 and its family). Bytes that move either
// way pay for the frames that go with them; beyond that there is a rate. Frames of unknown
// types are not charged: nghttp2 skips them, at the price of their bytes. Value type.

#include <algorithm>
#include <cstdint>

#include <natt/time.h>
#include <natt/token_bucket.h>

namespace natt::tunnel {

class FrameBudget {
 public:
  // DATA moved: a peer answers with a WINDOW_UPDATE for the stream and one for the connection at most, and may add
  // a PING to measure.
  void handle_progress() { credit_ = std::min(credit_ + kPerDataFrame, kMaxCredit); }
  // A frame that carries nothing. False when there were too many.
  [[nodiscard]] bool take(Instant now) {
    if (credit_ == 0) return rate_.take(now, 1);
    --credit_;
    return true;
  }

 private:
  static constexpr std::uint32_t kPerDataFrame = 4;
  static constexpr std::uint32_t kMaxCredit = 4096;
  // A quiet connection has a PING each way in seconds; a busy one pays with its data.
  TokenBucket rate_{100, 1000};
  std::uint32_t credit_ = 0;
};

}  // namespace natt::tunnel
