// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/knock_schedule.h>

namespace natt::spa {

KnockId KnockSchedule::start(Instant now) {
  started_ = now;
  id_ = knocker_.next_knock_id();
  next_ = 0;
  due_ = false;
  handle_timeout(now);
  return id_;
}

void KnockSchedule::stop() {
  next_ = kOffsets.size();
  due_ = false;
}

void KnockSchedule::handle_timeout(Instant now) {
  while (next_ < kOffsets.size() && started_ + kOffsets[next_] <= now) {
    ++next_;
    due_ = true;
  }
}

std::optional<Instant> KnockSchedule::next_deadline() const {
  if (next_ == kOffsets.size()) return std::nullopt;
  return started_ + kOffsets[next_];
}

std::optional<ByteBuffer> KnockSchedule::poll_transmit(WallTime wall_now) {
  if (!due_) return std::nullopt;
  due_ = false;
  return knocker_.make_udp_knock(wall_now, id_);
}

}  // namespace natt::spa
