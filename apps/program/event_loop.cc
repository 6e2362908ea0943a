// SPDX-License-Identifier: Apache-2.0
#include "apps/program/event_loop.h"

#include <csignal>

#include <natt/uv/timer.h>

namespace natt::program {

EventLoop::EventLoop() {
  std::signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&loop_);
  const std::array<int, 3> numbers = {SIGTERM, SIGINT, SIGHUP};
  for (std::size_t i = 0; i < signals_.size(); ++i) {
    uv_signal_init(&loop_, &signals_[i]);
    signals_[i].data = this;
    uv_signal_start(&signals_[i], &EventLoop::on_signal, numbers[i]);
    uv_unref(reinterpret_cast<uv_handle_t*>(&signals_[i]));
  }
}

EventLoop::~EventLoop() {
  for (uv_signal_t& signal : signals_) uv_close(reinterpret_cast<uv_handle_t*>(&signal), nullptr);
  settle();
  uv_loop_close(&loop_);
}

void EventLoop::run(Listener& listener) {
  listener_ = &listener;
  uv_run(&loop_, UV_RUN_DEFAULT);
  listener_ = nullptr;
}

void EventLoop::stop() { uv_stop(&loop_); }

void EventLoop::settle() {
  // Close callbacks come within two turns, but a file system request of libuv's thread pool has to come home before the
  // loop goes, or its thread aborts the process. A handle that was forgotten open does not keep us here for ever.
  for (int turn = 0; turn < 200 && uv_run(&loop_, UV_RUN_NOWAIT) != 0; ++turn) uv_sleep(5);
}

void EventLoop::on_signal(uv_signal_t* handle, int number) noexcept {
  auto* loop = static_cast<EventLoop*>(handle->data);
  if (loop->listener_ == nullptr) return;
  const Instant now = natt::uv::now();
  if (number == SIGHUP) return loop->listener_->on_reload(now);
  if (loop->terminating_) return loop->stop();
  loop->terminating_ = true;
  loop->listener_->on_terminate(now);
}

}  // namespace natt::program
