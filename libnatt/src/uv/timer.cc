// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/timer.h>

#include <uv.h>

#include <algorithm>
#include <chrono>

namespace natt::uv {

Instant now() { return Instant(Duration(static_cast<Duration::rep>(uv_hrtime()))); }

WallTime wall_now() {
  uv_timeval64_t time{};
  uv_gettimeofday(&time);
  return WallTime(std::chrono::milliseconds(time.tv_sec * 1000 + time.tv_usec / 1000));
}

struct Timer::Block {
  uv_timer_t handle{};
  Listener* listener = nullptr;  // null once the Timer is gone

  static void on_fire(uv_timer_t* handle) noexcept {
    auto* block = static_cast<Block*>(handle->data);
    if (block->listener != nullptr) block->listener->on_timer(now());
  }
  static void on_close(uv_handle_t* handle) noexcept { delete static_cast<Block*>(handle->data); }
};

Timer::Timer(uv_loop_s& loop, Listener& listener) : block_(new Block) {
  uv_timer_init(&loop, &block_->handle);  // cannot fail
  block_->handle.data = block_;
  block_->listener = &listener;
}

Timer::~Timer() {
  block_->listener = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle), Block::on_close);
}

void Timer::arm(std::optional<Instant> deadline) {
  if (!deadline) {
    uv_timer_stop(&block_->handle);
    return;
  }
  // libuv's loop time is uv_hrtime in whole milliseconds, cached per turn. Rounding up in absolute time never fires
  // early; at least 1 ms because libuv would run a timer of 0 again and again within one turn.
  const auto due = std::chrono::ceil<std::chrono::milliseconds>(deadline->time_since_epoch()).count();
  const auto base = static_cast<std::int64_t>(uv_now(block_->handle.loop));
  uv_timer_start(&block_->handle, Block::on_fire, static_cast<std::uint64_t>(std::max<std::int64_t>(due - base, 1)), 0);
}

bool Timer::armed() const { return uv_is_active(reinterpret_cast<const uv_handle_t*>(&block_->handle)) != 0; }

}  // namespace natt::uv
