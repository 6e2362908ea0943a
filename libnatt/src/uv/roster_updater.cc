// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/roster_updater.h>

#include <uv.h>

#include <deque>
#include <utility>

#include <natt/errc.h>
#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

// A reload brings two per site, the file beside the configuration and the one in it.
constexpr std::size_t kMaxWaiting = 4;

}  // namespace

struct RosterUpdater::Block {
  Block(uv_loop_s& wanted_loop, const RosterStore& wanted_store, Listener& wanted_listener)
      : loop(&wanted_loop), store(&wanted_store), listener(&wanted_listener) {
    work.data = this;
    uv_sem_init(&finished, 0);
  }
  ~Block() { uv_sem_destroy(&finished); }

  void begin(RosterJob next);
  static void on_work(uv_work_t* work) noexcept;
  static void on_done(uv_work_t* work, int status) noexcept;
  void deliver();

  uv_loop_s* loop;
  const RosterStore* store;
  Listener* listener;  // null once the updater is gone
  uv_work_t work{};
  uv_sem_t finished{};  // posted at the end of each job, in its thread
  bool running = false;
  RosterJob job;
  std::deque<RosterJob> waiting;
  // The job's results: written by its thread, read by the loop's when it is over.
  Result<PreparedRoster> prepared = fail(Errc::kClosed, "no roster was prepared");
  Result<void> persisted;
};

void RosterUpdater::Block::begin(RosterJob next) {
  job = std::move(next);
  running = true;
  uv_queue_work(loop, &work, on_work, on_done);  // fails for null functions only
}

void RosterUpdater::Block::on_work(uv_work_t* work) noexcept {
  auto* self = static_cast<Block*>(work->data);
  auto documents = self->job.read();
  self->persisted = {};
  if (!documents) {
    self->prepared = tl::unexpected<Error>(std::move(documents.error()));
  } else {
    self->prepared = self->store->prepare(std::move(*documents));
    if (self->prepared && self->prepared->roster && self->job.persist) {
      self->persisted = self->job.persist(self->prepared->documents);
    }
  }
  uv_sem_post(&self->finished);
}

void RosterUpdater::Block::on_done(uv_work_t* work, int status) noexcept {
  auto* self = static_cast<Block*>(work->data);
  self->running = false;
  if (self->listener == nullptr) {
    delete self;
    return;
  }
  if (status != 0) return;  // cancelled, which only the destructor does
  uv_sem_wait(&self->finished);
  self->deliver();
}

void RosterUpdater::Block::deliver() {
  job = {};
  listener->on_roster_prepared(now(), std::exchange(prepared, fail(Errc::kClosed, "taken")), persisted);
  if (waiting.empty() || running) return;
  RosterJob next = std::move(waiting.front());
  waiting.pop_front();
  begin(std::move(next));
}

RosterUpdater::RosterUpdater(uv_loop_s& loop, const RosterStore& store, Listener& listener)
    : block_(new Block(loop, store, listener)) {}

RosterUpdater::~RosterUpdater() {
  block_->listener = nullptr;
  if (!block_->running) {
    delete block_;
    return;
  }
  // The job reads the store and runs the embedder's functions: both may be gone after this.
  if (uv_cancel(reinterpret_cast<uv_req_t*>(&block_->work)) != 0) uv_sem_wait(&block_->finished);
  block_->job = {};
  block_->waiting.clear();
}

void RosterUpdater::start(RosterJob job) {
  if (block_->running) {
    if (block_->waiting.size() == kMaxWaiting) block_->waiting.pop_front();
    block_->waiting.push_back(std::move(job));
  } else {
    block_->begin(std::move(job));
  }
}

bool RosterUpdater::busy() const { return block_->running; }

void RosterUpdater::settle() {
  if (!block_->running) return;
  uv_sem_wait(&block_->finished);
  uv_sem_post(&block_->finished);  // on_done takes it
}

namespace {

struct Discarded {
  uv_work_t work{};
  std::unique_ptr<const Roster> roster;
};

}  // namespace

void discard_roster(uv_loop_s& loop, std::unique_ptr<const Roster> roster) {
  if (!roster) return;
  auto* block = new Discarded{.work = {}, .roster = std::move(roster)};
  block->work.data = block;
  uv_queue_work(
      &loop, &block->work, [](uv_work_t* work) { static_cast<Discarded*>(work->data)->roster.reset(); },
      [](uv_work_t* work, int) { delete static_cast<Discarded*>(work->data); });
}

}  // namespace natt::uv
