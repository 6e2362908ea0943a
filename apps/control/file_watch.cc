// SPDX-License-Identifier: Apache-2.0
#include "apps/control/file_watch.h"

#include <uv.h>

#include <utility>

namespace natt::control {
namespace {

constexpr unsigned kIntervalMilliseconds = 500;

}  // namespace

struct FileWatch::Impl {
  static void on_poll(uv_fs_poll_t* poll, int status, const uv_stat_t* previous, const uv_stat_t* current) noexcept {
    // Negative: the file is not there (any more); its appearance is reported as a change.
    static_cast<void>(previous);
    static_cast<void>(current);
    auto* impl = static_cast<Impl*>(poll->data);
    if (status != 0 || !impl->changed) return;
    // A copy: the callback may destroy the watch, and with it the function it runs in.
    const std::function<void()> changed = impl->changed;
    changed();
  }

  uv_fs_poll_t poll{};
  std::function<void()> changed;
};

FileWatch::FileWatch(uv_loop_s& loop, const std::filesystem::path& file, std::function<void()> changed)
    : impl_(new Impl{.poll = {}, .changed = std::move(changed)}) {
  uv_fs_poll_init(&loop, &impl_->poll);
  impl_->poll.data = impl_;
  uv_fs_poll_start(&impl_->poll, Impl::on_poll, file.c_str(), kIntervalMilliseconds);
}

FileWatch::~FileWatch() {
  impl_->changed = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->poll),
           [](uv_handle_t* handle) { delete static_cast<Impl*>(handle->data); });
}

}  // namespace natt::control
