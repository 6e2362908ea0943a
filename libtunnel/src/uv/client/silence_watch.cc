// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/silence_watch.h"

namespace natt::tunnel::uv {

bool SilenceWatch::is_dead(Instant now, const ConnectionStats& stats) {
  if (stats.packets_in != packets_in_) {
    packets_in_ = stats.packets_in;
    packets_out_ = stats.packets_out;
    unanswered_since_.reset();
  } else if (stats.packets_out != packets_out_ && !unanswered_since_) {
    unanswered_since_ = now;
  }
  return unanswered_since_ && now - *unanswered_since_ >= kSilence;
}

std::optional<Instant> SilenceWatch::next_deadline() const {
  return unanswered_since_ ? std::optional(*unanswered_since_ + kSilence) : std::nullopt;
}

}  // namespace natt::tunnel::uv
