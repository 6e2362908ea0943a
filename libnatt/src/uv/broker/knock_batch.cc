// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/knock_batch.h"

#include <utility>

#include <natt/uv/timer.h>

namespace natt::uv {

void KnockBatch::add(Instant now, const spa::ArrivedFrame& frame, const SocketAddress& from) {
  frames_[count_] = frame;
  sources_[count_] = from;
  if (++count_ == kMost) verify(now);
}

void KnockBatch::verify(Instant now) {
  const std::size_t count = std::exchange(count_, 0);
  if (count == 0) return;
  verifiers_.verify_batch(now, wall_now(), std::span(frames_).first(count), std::span(grants_).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    if (!grants_[i]) continue;
    ++granted_;
    if (listener_ != nullptr) listener_->on_knock(now, *grants_[i], sources_[i]);
  }
}

}  // namespace natt::uv
