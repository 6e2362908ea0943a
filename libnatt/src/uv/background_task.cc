// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/background_task.h>

#include <uv.h>

#include <optional>
#include <utility>

namespace natt::uv {
namespace {

struct Job {
  std::function<void()> work;
  std::function<void()> done;
};

}  // namespace

struct BackgroundTask::Block {
  explicit Block(uv_loop_s& on) : loop(&on) {
    request.data = this;
    uv_sem_init(&finished, 0);
  }
  ~Block() { uv_sem_destroy(&finished); }

  void begin(Job next) {
    job = std::move(next);
    running = true;
    uv_queue_work(loop, &request, on_work, on_done);  // fails for null functions only
  }
  static void on_work(uv_work_t* request) noexcept {
    auto* self = static_cast<Block*>(request->data);
    self->job.work();
    uv_sem_post(&self->finished);
  }
  static void on_done(uv_work_t* request, int) noexcept {
    auto* self = static_cast<Block*>(request->data);
    self->running = false;
    if (!self->wanted) {
      delete self;
      return;
    }
    uv_sem_wait(&self->finished);
    // Moved out: `done` may start the next task.
    const std::function<void()> done = std::move(self->job.done);
    self->job = {};
    done();
    if (!self->waiting || self->running) return;
    Job next = std::move(*self->waiting);
    self->waiting.reset();
    self->begin(std::move(next));
  }

  uv_loop_s* loop;
  uv_work_t request{};
  uv_sem_t finished{};  // posted at the end of each task, in its thread
  bool running = false;
  bool wanted = true;  // false once the BackgroundTask is gone
  Job job;
  std::optional<Job> waiting;
};

BackgroundTask::BackgroundTask(uv_loop_s& loop) : block_(new Block(loop)) {}

BackgroundTask::~BackgroundTask() {
  block_->wanted = false;
  if (!block_->running) {
    delete block_;
    return;
  }
  if (uv_cancel(reinterpret_cast<uv_req_t*>(&block_->request)) != 0) uv_sem_wait(&block_->finished);
  block_->job = {};
  block_->waiting.reset();
}

void BackgroundTask::start(std::function<void()> work, std::function<void()> done) {
  Job job{std::move(work), std::move(done)};
  if (block_->running) {
    block_->waiting = std::move(job);
  } else {
    block_->begin(std::move(job));
  }
}

bool BackgroundTask::busy() const { return block_->running; }

void BackgroundTask::settle() {
  if (!block_->running) return;
  uv_sem_wait(&block_->finished);
  uv_sem_post(&block_->finished);  // on_done takes it
}

void run_in_background(uv_loop_s& loop, std::function<void()> work) {
  struct Detached {
    uv_work_t request{};
    std::function<void()> work;
  };
  auto* detached = new Detached{.request = {}, .work = std::move(work)};
  detached->request.data = detached;
  uv_queue_work(
      &loop, &detached->request,
      [](uv_work_t* request) {
        auto* self = static_cast<Detached*>(request->data);
        self->work();
        self->work = {};
      },
      [](uv_work_t* request, int) { delete static_cast<Detached*>(request->data); });
}

}  // namespace natt::uv
