// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/roster_updater.h>

#include <utility>

#include <natt/errc.h>

namespace natt::uv {
namespace {

// A reload brings two per site, the file beside the configuration and the one in it.
constexpr std::size_t kMaxWaiting = 4;

}  // namespace

// Written by the thread that works, read by the loop's when it is over.
struct RosterUpdater::Work {
  RosterJob job;
  Result<PreparedRoster> prepared = fail(Errc::kClosed, "no roster was prepared");
  Result<void> persisted;

  // Whether the roster in force is written, and nothing read.
  [[nodiscard]] bool rewrites() const { return !job.read; }

  void run(const RosterStore& store) {
    if (rewrites()) {
      persisted = job.persist(store.documents());
      return;
    }
    auto documents = job.read();
    if (!documents) {
      prepared = tl::unexpected<Error>(std::move(documents.error()));
      return;
    }
    prepared = store.prepare(std::move(*documents));
    if (prepared && prepared->roster && job.persist) persisted = job.persist(prepared->documents);
  }
};

RosterUpdater::RosterUpdater(uv_loop_s& loop, const RosterStore& store, Listener& listener, Duration persist_retry)
    : store_(store), listener_(listener), on_disk_(persist_retry), timer_(loop, *this), task_(loop) {}

RosterUpdater::~RosterUpdater() = default;

void RosterUpdater::start(RosterJob job) {
  if (!task_.busy()) return begin(std::move(job));
  if (waiting_.size() == kMaxWaiting) waiting_.pop_front();
  waiting_.push_back(std::move(job));
}

void RosterUpdater::begin(RosterJob job) {
  work_ = std::make_unique<Work>();
  work_->job = std::move(job);
  task_.start([work = work_.get(), store = &store_] { work->run(*store); }, [this] { deliver(); });
}

void RosterUpdater::deliver() {
  const std::unique_ptr<Work> done = std::move(work_);
  const Instant at = now();
  const bool rewritten = done->rewrites();
  note_write(at, *done);
  done->job = {};
  if (rewritten) {
    listener_.on_roster_rewritten(at, done->persisted);
  } else {
    listener_.on_roster_prepared(at, std::move(done->prepared), done->persisted);
  }
  timer_.arm(on_disk_.next_deadline());
  if (waiting_.empty() || task_.busy()) return;
  RosterJob next = std::move(waiting_.front());
  waiting_.pop_front();
  begin(std::move(next));
}

void RosterUpdater::note_write(Instant now, Work& done) {
  // One that was refused, or is held already, was not written.
  if (!done.rewrites() && (!done.prepared || !done.prepared->roster)) return;
  on_disk_.note_write(now, done.persisted.has_value());
  persist_ = on_disk_.is_written() ? nullptr : std::move(done.job.persist);
}

void RosterUpdater::on_timer(Instant now) {
  // Armed again by the end of a job that runs.
  if (on_disk_.is_due(now) && !task_.busy()) begin({.read = nullptr, .persist = persist_});
}

void discard_roster(uv_loop_s& loop, std::unique_ptr<const Roster> roster) {
  if (!roster) return;
  run_in_background(loop, [old = roster.release()] { delete old; });
}

}  // namespace natt::uv
